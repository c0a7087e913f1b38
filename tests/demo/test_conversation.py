"""The conductor of the demo, in a made-up room that answers at once; and, slowly, the real demo."""

import io
import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from device.demo import conversation
from device.demo.conversation import (
    ANOTHER,
    BUTTON,
    GOODBYE,
    LONG,
    OVER,
    QUESTION,
    SAID,
    STOP,
    STORY,
    WAKE,
    Conductor,
    run,
)
from device.demo.figures import read_stereo
from device.demo.narration import Narrator
from device.demo.stream import EventStream
from device.errors import EarshotError

CONVERSATION = [QUESTION, STORY, "button", ANOTHER, WAKE, LONG, OVER, ANOTHER, STOP, GOODBYE]
Fields = dict[str, object]
ANSWER: list[tuple[str, Fields]] = [("reply_started", {}), ("playback_started", {})]


def cut(by: str) -> list[tuple[str, Fields]]:
    return [("interrupted", {"by": by}), ("playback_stopped", {"reason": "interrupted"})]


class Room:
    """A card, a finger and a firmware in one. `reactions` is what the firmware does when it hears or feels what."""

    def __init__(self) -> None:
        self.voices = {text: np.zeros(length, np.int16) for length, text in enumerate(SAID)}
        self.heard: list[str] = []
        self.stream = EventStream(lambda event: None, self._silent)
        self.reactions: dict[str, list[tuple[str, Fields]]] = {
            QUESTION: [
                ("wake", {"word": "hey_jarvis", "score": 0.9}),
                ("first_audio_sent", {}),
                *ANSWER,
                ("playback_stopped", {"reason": "drained"}),
            ],
            STORY: ANSWER,
            "button": cut("button"),
            ANOTHER: ANSWER,
            WAKE: [("wake", {"word": "hey_jarvis", "score": 0.9}), *cut("wake_word")],
            LONG: ANSWER,
            OVER: [*cut("speech"), *ANSWER, ("playback_stopped", {"reason": "drained"})],
            STOP: cut("speech"),
            GOODBYE: [*ANSWER, ("session_ended", {"reason": "agent"})],
        }
        self.conductor = Conductor(
            self,
            self,
            self.stream,
            Narrator(io.StringIO()),
            self.voices,  # type: ignore[arg-type]
        )

    def play(self, pcm: np.ndarray, rate: int) -> SimpleNamespace:
        text = next(text for text, voice in self.voices.items() if voice is pcm)
        return SimpleNamespace(started=self._react(text))

    def press(self, pin: int) -> float:
        assert pin == BUTTON
        return self._react("button")

    def release(self, pin: int) -> float:
        return time.monotonic()

    def _react(self, cause: str) -> float:
        now = time.monotonic()
        self.heard.append(cause)
        for name, fields in self.reactions[cause]:
            self.stream.put({"t": time.monotonic(), "event": name, **fields})
        return now

    @staticmethod
    def _silent() -> None:
        raise EarshotError("the room is silent")


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    for name in ("LEAD_S", "TALK_S", "PAUSE_S", "PRESS_S", "OKAY_S", "FAREWELL_S"):
        monkeypatch.setattr(conversation, name, 0.0)
    return Room()


def test_person_and_finger_go_on_when_the_firmware_has_reacted(room: Room) -> None:
    room.conductor.converse()
    assert room.heard == CONVERSATION
    assert [e.get("text", "button") for e in room.conductor.own] == CONVERSATION


@pytest.mark.parametrize(
    ("cause", "missing", "step"),
    [
        (QUESTION, "wake", "in one breath"),
        (QUESTION, "first_audio_sent", "in one breath"),
        (QUESTION, "playback_stopped", "in one breath"),
        (STORY, "playback_started", "without the wake word"),
        ("button", "interrupted", "with the button"),
        ("button", "playback_stopped", "with the button"),
        (ANOTHER, "reply_started", "another story"),
        (WAKE, "interrupted", "with the wake word"),
        (OVER, "interrupted", "talk over it"),
        (OVER, "playback_started", "talk over it"),
        (STOP, "interrupted", "stop"),
        (GOODBYE, "session_ended", "goodbye"),
    ],
)
def test_a_reaction_that_does_not_come_fails_by_the_name_of_its_step(
    cause: str, missing: str, step: str, room: Room
) -> None:
    room.reactions[cause] = [(name, fields) for name, fields in room.reactions[cause] if name != missing]
    with pytest.raises(EarshotError, match=f'the demo failed at ".*{step}'):
        room.conductor.converse()
    assert room.heard[-1] == cause


def test_a_story_that_ends_by_itself_is_a_failure(room: Room) -> None:
    room.reactions[STORY] = [*ANSWER, ("playback_stopped", {"reason": "drained"})]
    with pytest.raises(EarshotError, match="the story ended by itself"):
        room.conductor.converse()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EarshotError, match=f"cannot write {tmp_path}/file/demo"):
        run(tmp_path / "file" / "demo", None)


@pytest.mark.slow
def test_the_demo_leaves_sound_picture_and_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, None) == 0
    stereo, _ = read_stereo(tmp_path / "conversation.wav")
    assert stereo[:, 0].any() and stereo[:, 1].any()
    assert (tmp_path / "conversation.png").read_bytes().startswith(b"\x89PNG")
    names = [json.loads(line)["event"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert names.count("person") == 9 and names.count("finger") == 1 and names[-1] == "stopped"
    told = capsys.readouterr().out
    assert "interrupted by the button" in told and told.count("interrupted by talking") >= 2
    assert max(len(line) for line in told.splitlines()[:-9]) <= 80
