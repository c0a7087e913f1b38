"""The real ear and voice, with synthetic people: flite and espeak-ng."""

import asyncio
import io
import subprocess
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import samplerate
from websockets.sync.client import connect

from device.agent.grammar import find, without_wake
from device.agent.hearing import Heard, Recogniser, Turns, Utterance, voice_detector
from device.agent.quantities import number_in, seconds_in
from device.agent.skills import COMMANDS
from device.agent.speaking import synthesise
from device.agent.stories import STORIES
from tests.agent.conftest import Agent, Client

pytestmark = pytest.mark.slow

VOICES = ["flite slt", "flite rms", "flite awb", "espeak-ng en-us"]
MORE_VOICES = [*VOICES, "flite kal16", "espeak-ng en-gb", "espeak-ng en-us+f3"]
ESSENTIAL = [
    "what time is it",
    "tell me a story",
    "tell me another story",
    "goodbye",
    "set a timer for five seconds",
]
MORE = [
    *ESSENTIAL,
    "what is the time",
    "what day is it",
    "what is the date today",
    "set a timer for five minutes",
    "set a timer for twenty five minutes",
    "set a timer for one hour and thirty minutes",
    "set a ten minute timer",
    "what timers are set",
    "list my timers",
    "cancel the timer",
    "cancel timer two",
    "cancel all timers",
    "louder",
    "quieter",
    "volume up",
    "turn the volume down",
    "set the volume to fifty percent",
    "another story",
    "stop",
    "never mind",
]
FOREIGN = [
    "the weather is nice in paris",
    "how tall is the eiffel tower",
    "who won the football match yesterday",
    "can you order a pizza for me",
    "my brother lives in a small house",
    "the train leaves at half past nine",
    "she said that she would call back later",
    "remind me to water the plants",
]


def synthetic(voice: str, text: str, folder: Path) -> bytes:
    """s16le at 16 kHz."""
    program, name = voice.split()
    path = folder / "speech.wav"
    if program == "flite":
        command = ["flite", "-voice", name, "-t", text, "-o", str(path)]
    else:
        command = ["espeak-ng", "-v", name, "-w", str(path), text]
    subprocess.run(command, check=True, timeout=20)
    with wave.open(io.BytesIO(path.read_bytes())) as file:
        rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
    at_16_khz = samplerate.resample(samples.astype(np.float32) / 2, 16_000 / rate, "sinc_fastest")
    return bytes(at_16_khz.astype("<i2").tobytes())


@pytest.fixture(scope="module")
def recogniser() -> Iterator[Recogniser]:
    recogniser = Recogniser(COMMANDS)
    yield recogniser
    recogniser.close()


def recognise(recogniser: Recogniser, utterance: Utterance) -> Heard:
    return recogniser.thread.submit(recogniser.recognise, utterance).result(10)


def commands_in(recogniser: Recogniser, pcm: bytes) -> list[tuple[str, float, int | None]]:
    """What a room with a little noise makes of it: name, seconds and number of each command acted on."""
    noise = np.random.default_rng(0).normal(0, 15, len(pcm) // 2 + 20_000)
    noise[4_000 : 4_000 + len(pcm) // 2] += np.frombuffer(pcm, "<i2")
    room, turns, commands = noise.astype("<i2").tobytes(), Turns(voice_detector()), []
    for start in range(0, len(room), 640):
        if not (ended := turns.hear(room[start : start + 640])):
            continue
        heard = recognise(recogniser, ended[0])
        if heard.clear and (found := find(heard.text.split(), COMMANDS)):
            commands.append((found[0].name, seconds_in(found[1]), number_in(found[1])))
    return commands


def expected(text: str) -> list[tuple[str, float, int | None]]:
    found = find(text.split(), COMMANDS)
    assert found is not None
    return [(found[0].name, seconds_in(found[1]), number_in(found[1]))]


@pytest.mark.parametrize("before", ["", "hey jarvis, "], ids=["alone", "after the wake word"])
@pytest.mark.parametrize("voice", VOICES)
def test_the_essential_commands_are_understood(recogniser: Recogniser, voice: str, before: str, tmp_path: Path) -> None:
    for text in ESSENTIAL:
        assert commands_in(recogniser, synthetic(voice, before + text, tmp_path)) == expected(text)


@pytest.mark.parametrize("voice", ["flite slt", "espeak-ng en-us"])
def test_the_end_of_the_wake_word_does_no_harm(recogniser: Recogniser, voice: str, tmp_path: Path) -> None:
    speech = synthetic(voice, "hey jarvis, what time is it", tmp_path)
    for cut_s in (0.3, 0.4, 0.5, 0.6):
        assert commands_in(recogniser, speech[int(cut_s * 16_000) * 2 :]) == expected("what time is it"), cut_s


@pytest.mark.parametrize("voice", VOICES)
def test_the_wake_word_alone_is_known_for_what_it_is(recogniser: Recogniser, voice: str, tmp_path: Path) -> None:
    heard = recognise(recogniser, Utterance(bytes(9600) + synthetic(voice, "hey jarvis", tmp_path) + bytes(9600), 1))
    assert heard.clear
    assert without_wake(heard.text.split()) == []


def test_noises_are_no_commands(recogniser: Recogniser) -> None:
    random = np.random.default_rng(1)
    noises = {
        "white": random.normal(0, 3000, 48_000),
        "a cough": random.normal(0, 6000, 6_400) * np.hanning(6_400),
        "a knock": np.r_[np.full(40, 20_000.0), np.zeros(800)],
        "a whistle": 8_000 * np.sin(np.arange(16_000) * 0.5),
    }
    for name, noise in noises.items():
        assert commands_in(recogniser, noise.clip(-32_000, 32_000).astype("<i2").tobytes()) == [], name


@pytest.mark.slow
def test_nearly_everything_is_understood_and_little_of_what_is_no_command(
    recogniser: Recogniser, tmp_path: Path
) -> None:
    right = sum(
        commands_in(recogniser, synthetic(voice, before + text, tmp_path)) == expected(text)
        for voice in MORE_VOICES
        for before in ("", "hey jarvis, ")
        for text in MORE
    )
    acted_on = sum(bool(commands_in(recogniser, synthetic(v, text, tmp_path))) for v in MORE_VOICES for text in FOREIGN)
    assert right / (2 * len(MORE_VOICES) * len(MORE)) >= 0.92
    assert acted_on / (len(MORE_VOICES) * len(FOREIGN)) <= 0.2


@pytest.mark.slow
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story[0][:20])
def test_a_story_takes_more_than_a_minute(story: tuple[str, ...]) -> None:
    assert sum(len(asyncio.run(synthesise(sentence))) for sentence in story) / 48_000 >= 60


def test_a_real_conversation_over_the_socket(real_agent: Agent, tmp_path: Path) -> None:
    with connect(real_agent.url, close_timeout=1) as socket:
        client = Client(socket)
        client.start()
        pcm = synthetic("flite slt", "hey jarvis, what time is it", tmp_path) + bytes(32_000)
        for start in range(0, len(pcm), 640):
            client.audio(pcm[start : start + 640])
        messages = client.until("audio")
        assert {"role": "user", "text": "what time is it"} in [message.get("payload") for message in messages]
        assert messages[-1]["payload"]["mime_type"] == "audio/pcm;rate=24000"
        client.send("stop")
        client.until("ended")
