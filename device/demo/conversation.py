"""The conductor of `earshot demo`: a person, a finger and the real firmware in a room without hardware."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from device.config import Agent as AgentSettings
from device.config import Config, Microphone, Panel, Privacy, Speaker, dump
from device.demo.card import VirtualCard
from device.demo.echo import response
from device.demo.figures import figures, show
from device.demo.narration import Narrator
from device.demo.pins import Levers
from device.demo.processes import START_S, Agent, Firmware
from device.demo.stream import Event, EventStream
from device.demo.voices import RATE, say
from device.errors import EarshotError

BUTTON = 17
VOICE = "flite:slt"
QUESTION = "hey jarvis, what time is it"
STORY, ANOTHER, LONG = "tell me a story", "tell me another story", "tell me a long story"
WAKE, OVER, STOP, GOODBYE = "hey jarvis", "what time is it", "stop", "goodbye"
SAID = (QUESTION, STORY, ANOTHER, LONG, WAKE, OVER, STOP, GOODBYE)
LEAD_S = 0.5  # of quiet before anything is said
TALK_S = 4.0  # how long a story is listened to
PAUSE_S = 0.8  # before the person speaks again
PRESS_S = 0.15
OKAY_S = 3.0  # for what the agent answers to that
FAREWELL_S = 1.0  # for the last chime
ANSWER_S = 12.0  # from the end of what was said until the answer is heard
CARD = Config(microphone=Microphone(device="pulse"), speaker=Speaker(device="pulse"), panel=Panel(button=BUTTON))


class Conductor:
    """Speaks, presses, and waits for what the firmware does about it."""

    def __init__(
        self,
        card: VirtualCard,
        levers: Levers,
        firmware: EventStream,
        narrator: Narrator,
        voices: dict[str, np.ndarray],
    ) -> None:
        self._card = card
        self._levers = levers
        self._firmware = firmware
        self._narrator = narrator
        self._voices = voices
        self.own: list[Event] = []
        """What the firmware's event log cannot know: who said and pressed what."""

    def converse(self) -> None:
        """The whole conversation. EarshotError names the step that failed."""
        self._firmware.watch_for(LEAD_S)
        with step("ask for the time in one breath with the wake word"):
            asked = self._say(QUESTION)
            for event in ("wake", "first_audio_sent"):
                self._firmware.wait_for(event, self._length(QUESTION) + 5.0, since=asked)
            self._answered()
            self._firmware.wait_for("playback_stopped", 20.0, reason="drained")
        with step("ask for a story without the wake word"):
            self._firmware.watch_for(PAUSE_S)
            self._story(STORY)
        with step("cut the story off with the button"):
            pressed = self._press()
            self._firmware.wait_for("interrupted", 2.0, since=pressed, by="button")
            self._firmware.wait_for("playback_stopped", 2.0, since=pressed, reason="interrupted")
        with step("ask for another story"):
            self._firmware.watch_for(PAUSE_S)
            self._story(ANOTHER)
        with step("cut it off with the wake word"):
            called = self._say(WAKE)
            self._firmware.wait_for("wake", self._length(WAKE) + 3.0, since=called)
            # Talking is noticed sooner than what was said.
            self._firmware.wait_for("interrupted", 1.0, since=called)
            self._firmware.wait_for("playback_stopped", 2.0, since=called, reason="interrupted")
        with step("ask for a long story"):
            self._firmware.watch_for(PAUSE_S)
            self._story(LONG)
        with step("talk over it"):
            self._talk_over(OVER)
            self._answered()
            self._firmware.wait_for("playback_stopped", 20.0, reason="drained")
        with step("ask for yet another story"):
            self._firmware.watch_for(PAUSE_S)
            self._story(ANOTHER)
        with step("tell it to stop"):
            self._talk_over(STOP)
            self._firmware.watch_for(OKAY_S)
        with step("say goodbye"):
            left = self._say(GOODBYE)
            self._firmware.wait_for("session_ended", self._length(GOODBYE) + ANSWER_S + 10.0, since=left)
            self._firmware.watch_for(FAREWELL_S)

    def _story(self, request: str) -> None:
        self._say(request)
        self._answered()
        for event in self._firmware.watch_for(TALK_S):
            if event["event"] in ("playback_stopped", "session_ended"):
                raise EarshotError("the story ended by itself")

    def _talk_over(self, text: str) -> None:
        said = self._say(text)
        self._firmware.wait_for("interrupted", self._length(text) + 2.0, since=said, by="speech")
        self._firmware.wait_for("playback_stopped", 2.0, since=said, reason="interrupted")

    def _answered(self) -> None:
        self._firmware.wait_for("reply_started", ANSWER_S)
        self._firmware.wait_for("playback_started", 2.0)

    def _say(self, text: str) -> float:
        playing = self._card.play(self._voices[text], RATE)
        self._note({"t": playing.started, "event": "person", "text": text, "seconds": self._length(text)})
        return playing.started

    def _press(self) -> float:
        pressed = self._levers.press(BUTTON)
        self.own.append({"t": pressed, "event": "finger", "pin": BUTTON})
        self._firmware.watch_for(PRESS_S)
        self._levers.release(BUTTON)
        return pressed

    def _length(self, text: str) -> float:
        return len(self._voices[text]) / RATE

    def _note(self, event: Event) -> None:
        self.own.append(event)
        self._narrator(event)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Name the step in what goes wrong in it."""
    try:
        yield
    except EarshotError as failure:
        raise EarshotError(f'the demo failed at "{name}": {failure}') from failure


def run(out: Path, settings: Config | None) -> int:
    """Hold the conversation and leave conversation.wav, conversation.png and events.jsonl in the directory `out`.

    With `settings`, run agent and firmware on the sound card and pins they name instead, until Ctrl-C. Returns the exit code.
    """
    narrator = Narrator(sys.stdout)
    try:
        return _real(settings, narrator) if settings else _virtual(out, narrator)
    except KeyboardInterrupt:
        return 0 if settings else 130
    except (EarshotError, BrokenPipeError):  # a HardwareError is an OSError too; a pipe is not in `out`
        raise
    except OSError as failure:
        raise EarshotError(f"cannot write {failure.filename or out}: {failure.strerror}") from failure


def _virtual(out: Path, narrator: Narrator) -> int:
    out.mkdir(parents=True, exist_ok=True)
    wav, png, log = (out / name for name in ("conversation.wav", "conversation.png", "events.jsonl"))
    for path in (wav, png, log):
        path.unlink(missing_ok=True)  # so that none is left from another conversation
    narrator.say("A person, a speaker that hears itself, and its agent, in a virtual room.")
    narrator.say("Nothing is heard outside.")
    narrator.say("seconds  who      what")
    with ThreadPoolExecutor(2) as pool, VirtualCard(response()) as card:
        saying = {text: pool.submit(say, text, VOICE) for text in SAID}
        levers = Levers(card.directory / "pins")
        with _earshot(card.directory, CARD, card.env | levers.env, narrator) as firmware:
            voices = {text: future.result() for text, future in saying.items()}
            conductor = Conductor(card, levers, firmware, narrator, voices)
            with card.record(wav) as recording:
                try:
                    conductor.converse()
                finally:
                    firmware.stop()
                    begin: Event = {"t": recording.first_sample, "event": "recording", "file": wav.name}
                    events = sorted([begin, *firmware.events, *conductor.own], key=lambda event: float(event["t"]))
                    log.write_text("".join(json.dumps(event) + "\n" for event in events))
    measured = figures(events, wav)
    _picture(events, wav, png, measured)
    narrator.say("")
    for line in show(measured):
        narrator.say(line)
    narrator.say(f"\n{wav}: the microphone (left) and the speaker (right)")
    narrator.say(f"{png}: both over time, with state, lights and button")
    narrator.say(f"{log}: every event, a JSON line each")
    return 0


def _picture(events: list[Event], wav: Path, path: Path, measured: dict[str, list[float]]) -> None:
    from device.demo.picture import draw

    draw(events, wav, path, show(measured))


def _real(settings: Config, narrator: Narrator) -> int:
    with (
        tempfile.TemporaryDirectory(prefix="earshot-") as directory,
        _earshot(Path(directory), settings, dict(os.environ), narrator) as firmware,
    ):
        narrator.say(f'Say "{QUESTION}". Then, without the wake word: "{STORY}", "set a timer for one minute",')
        narrator.say(f'"louder", "{GOODBYE}". Cut it off with "{WAKE}", the button, or by talking. Ctrl-C ends it.')
        while True:
            firmware.watch_for(1.0)


@contextmanager
def _earshot(directory: Path, settings: Config, env: dict[str, str], narrator: Narrator) -> Iterator[Firmware]:
    """Agent and firmware, ready."""
    with Agent(env, directory / "agent.log") as agent:
        config = directory / "earshot.toml"
        built_in = replace(settings, agent=AgentSettings(url=agent.url), privacy=Privacy(transcripts=True))
        config.write_text(dump(built_in, "none is needed"))
        with Firmware(config, env, directory / "firmware.log", narrator) as firmware:
            try:
                agent.wait_ready()
                firmware.wait_for("ready", START_S)
                yield firmware
            except EarshotError as failure:  # the room and its files go: say what they hold
                said = [f"{child.name}: {line}" for child in (agent, firmware) for line in child.last_lines(8)]
                raise EarshotError("\n".join([str(failure), *said])) from failure
