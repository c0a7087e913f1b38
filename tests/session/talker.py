"""A speaker without sound, as a process: `talker URL FRAMES` speaks numbered frames, 50 a second, and tells what happens.

It tells it as JSON lines, with the time (seconds, CLOCK_MONOTONIC), and ends the session when its standard input ends.
"""

import json
import os
import select
import sys
import threading
import time
from dataclasses import asdict

from device.audio import FRAME_S
from device.config import Agent
from device.events import Event, SessionEnded, SessionReady, SessionRefused
from device.session.connect import connect
from device.session.link import Link
from device.session.protocols.datagrid import Datagrid

LIMIT_S = 5.0
LONGEST_S = 120.0
"""It ends by itself after so much silence."""
_BYTES = 4


def frame(number: int) -> bytes:
    return number.to_bytes(_BYTES, "little") * (640 // _BYTES)


def number(pcm: bytes) -> int:
    return int.from_bytes(pcm[:_BYTES], "little")


def tell(kind: str, **facts: object) -> None:
    os.write(1, json.dumps({"t": time.monotonic(), "event": kind} | facts).encode() + b"\n")


def main(url: str, frames: int) -> None:
    ready, over = threading.Event(), threading.Event()

    def post(event: Event) -> None:
        tell(type(event).__name__, **asdict(event))
        if isinstance(event, SessionReady):
            ready.set()
        if isinstance(event, SessionEnded | SessionRefused):
            over.set()

    agent = Agent(protocol="datagrid", url=url)
    link = Link(
        lambda session, conversation: Datagrid(agent, None, session, conversation),
        lambda reply, pcm, rate: tell("heard", reply=reply, bytes=len(pcm)),
        post,
        connect=connect,
    )
    link.start(1, None)
    ready.wait(LIMIT_S)
    began = time.monotonic()
    for count in range(frames):
        link.hear(1, frame(count))
        if select.select([0], [], [], max(0.0, began + (count + 1) * FRAME_S - time.monotonic()))[0]:
            break
    else:
        tell("spoken", frames=frames)
        select.select([0], [], [], LONGEST_S)
    link.stop("button")
    over.wait(LIMIT_S)
    link.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
