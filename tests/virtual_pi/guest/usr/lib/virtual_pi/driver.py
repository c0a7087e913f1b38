"""Does what the test outside the virtual Pi asks for over a virtio port; a JSON object per line each way.

Asked: {"id", "run": shell words, "limit": s}. Answered, in any order, when it has ended: {"id", "code", "output", "start",
"end"} with times of CLOCK_MONOTONIC. At its start it says {"booted": true}. Files are read by shell words.
"""

import base64
import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

PORT = Path("/dev/virtio-ports/driver")


def main() -> None:
    """Serve until we are ended."""
    while not PORT.exists():
        time.sleep(0.05)
    with PORT.open("r+b", buffering=0) as port:
        writing = threading.Lock()
        tell(port, writing, {"booted": True})
        rest = b""
        while True:
            piece = port.read(65536)
            if not piece:  # nobody is at the other end
                time.sleep(0.1)
                continue
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                threading.Thread(target=serve, args=(port, writing, json.loads(line)), daemon=True).start()


def tell(port: Any, writing: threading.Lock, message: dict[str, Any]) -> None:
    """A line to the other end."""
    line = json.dumps(message).encode() + b"\n"
    with writing:
        while line:
            line = line[port.write(line) :]


def serve(port: Any, writing: threading.Lock, request: dict[str, Any]) -> None:
    """Run what is asked for."""
    start = time.monotonic()
    process = subprocess.Popen(
        ["/bin/bash", "-c", request["run"]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=os.environ | {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
    )
    try:
        output, _ = process.communicate(timeout=request["limit"])
        code: int | str = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        output, _ = process.communicate()
        code = f"not done after {request['limit']} s"
    end = time.monotonic()
    text = base64.b64encode(output).decode()
    tell(port, writing, {"id": request["id"], "code": code, "output": text, "start": start, "end": end})


if __name__ == "__main__":
    main()
