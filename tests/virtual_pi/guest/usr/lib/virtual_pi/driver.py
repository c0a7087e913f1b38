"""Does what the test outside the virtual Pi asks for over a virtio port; a JSON object per line each way.

Asked: {"id", "run": shell words, "limit": s}. Answered, in any order, when it has ended: {"id", "code", "output", "start",
"end"} with times of CLOCK_MONOTONIC. At its start it says {"boot": id of this boot}. Files are written and read by shell words.
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
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def main() -> None:
    """Serve until we are ended."""
    while not PORT.exists():
        time.sleep(0.05)
    with PORT.open("r+b", buffering=0) as port:
        writing = threading.Lock()
        tell(port, writing, {"boot": BOOT_ID.read_text().strip()})
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
    data = base64.b64decode(request["input"]) if "input" in request else None
    process = subprocess.Popen(
        ["/bin/bash", "-c", request["run"]],
        stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=os.environ | {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
    )
    try:
        output, _ = process.communicate(data, timeout=request["limit"])
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
