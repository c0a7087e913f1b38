"""The virtual card, a real PulseAudio, heard and driven by real PyAudio in a process of its own."""

import os
import signal
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from device.demo.card import VirtualCard
from device.demo.echo import response
from device.demo.sounds import RATE
from device.errors import EarshotError

SECOND = np.random.default_rng(1).normal(scale=4000, size=RATE).astype(np.int16)
SECOND[0] = 1  # so that its beginning is found among the silence

# A process like the firmware: argv is what to do and a file for the samples.
PYAUDIO = """
import sys, pyaudio
what, path = sys.argv[1:]
audio = pyaudio.PyAudio()
names = [audio.get_device_info_by_index(i)["name"] for i in range(audio.get_device_count())]
assert names == ["pulse", "default"], names
common = dict(rate=48000, channels=1, format=pyaudio.paInt16, frames_per_buffer=960)
if what == "hear":
    stream = audio.open(input=True, input_device_index=names.index("pulse"), **common)
    print("open", flush=True)
    with open(path, "wb") as file:
        for _ in range(100):
            file.write(stream.read(960))
elif what == "speak":
    stream = audio.open(output=True, **common)
    with open(path, "rb") as file:
        data = file.read() + bytes(19200)
    print("open", flush=True)
    for i in range(0, len(data), 1920):
        stream.write(data[i : i + 1920])
else:
    stream = audio.open(input=True, **common)
    print("open", flush=True)
    try:
        while True:
            stream.read(960)
    except OSError:
        print("lost", flush=True)
"""

pytestmark = pytest.mark.slow


def pyaudio(card: VirtualCard, what: str, path: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PYAUDIO, what, str(path)]
    process = subprocess.Popen(command, env=card.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    return process


def read(path: Path) -> np.ndarray:
    with wave.open(str(path)) as wav:
        return np.frombuffer(wav.readframes(wav.getnframes()), "<i2").reshape(-1, wav.getnchannels())


def beginning(samples: np.ndarray) -> int:
    return int(np.flatnonzero(samples)[0])


def test_the_microphone_hears_the_room_bit_for_bit(card: VirtualCard, tmp_path: Path) -> None:
    process = pyaudio(card, "hear", tmp_path / "heard")
    assert card.play(SECOND, RATE).wait(5)
    assert process.wait(10) == 0
    heard = np.fromfile(tmp_path / "heard", np.int16)
    first = beginning(heard)
    assert np.array_equal(heard[first : first + RATE], SECOND)


def test_a_recording_holds_room_and_speaker_on_one_clock(card: VirtualCard, tmp_path: Path) -> None:
    SECOND.tofile(tmp_path / "reply")
    with card.record(tmp_path / "both.wav") as recording:
        process = pyaudio(card, "speak", tmp_path / "reply")
        playing = card.play(SECOND, RATE)
        assert playing.wait(5) and process.wait(10) == 0
    both = read(tmp_path / "both.wav")
    for side in (0, 1):
        first = beginning(both[:, side])
        assert np.array_equal(both[first : first + RATE, side], SECOND)
    in_recording = recording.first_sample + beginning(both[:, 0]) / RATE
    assert playing.started == pytest.approx(in_recording, abs=0.05)


def test_a_voice_of_another_rate_is_converted(card: VirtualCard, tmp_path: Path) -> None:
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)).astype(np.int16)
    with card.record(tmp_path / "both.wav"):
        assert card.play(tone, 16000).wait(5)
    heard = read(tmp_path / "both.wav")[:, 0].astype(float)
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert spectrum.argmax() * RATE / len(heard) == pytest.approx(440, abs=5)


def test_a_sound_that_is_stopped_is_silent_at_once(card: VirtualCard, tmp_path: Path) -> None:
    with card.record(tmp_path / "both.wav"):
        playing = card.play(np.tile(SECOND, 5), RATE)
        assert playing.started
        playing.stop()
        assert card.play(SECOND[:480], RATE).wait(5)
    assert np.count_nonzero(read(tmp_path / "both.wav")[:, 0]) < RATE


@pytest.fixture(scope="module")
def echoing() -> Iterator[VirtualCard]:
    with VirtualCard(response()) as card:
        yield card


def speak(card: VirtualCard, folder: Path, *, said: np.ndarray | None = None) -> np.ndarray:
    """What a recording holds when the speaker plays `SECOND`, while somebody says `said`."""
    SECOND.tofile(folder / "reply")
    with card.record(folder / "both.wav"):
        process = pyaudio(card, "speak", folder / "reply")
        assert said is None or card.play(said, RATE).wait(5)
        assert process.wait(10) == 0
    return read(folder / "both.wav").astype(float)


def test_the_microphone_hears_what_is_played_by_the_way_of_the_walls(echoing: VirtualCard, tmp_path: Path) -> None:
    both = speak(echoing, tmp_path)
    first = beginning(both[:, 1])
    assert np.array_equal(both[first : first + RATE, 1], SECOND)
    wanted = np.convolve(SECOND, response())
    heard = both[first : first + len(wanted), 0]
    assert np.abs(heard - wanted[: len(heard)]).max() < 30
    assert np.sqrt(np.mean(heard[: len(SECOND)] ** 2)) == pytest.approx(np.std(SECOND) * 10 ** (-10 / 20), rel=0.1)


def test_an_echo_is_as_late_at_the_end_as_at_the_beginning_however_busy_the_machine_is(
    echoing: VirtualCard, tmp_path: Path
) -> None:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        both = speak(echoing, tmp_path)
    finally:
        for process in busy:
            process.kill()
            process.wait(5)
    wanted = np.convolve(both[:, 1], response())[: len(both)]
    assert np.abs(both[:, 0] - wanted).max() < 30  # of all that was played, torn or not


def test_of_what_somebody_says_the_microphone_hears_no_echo(echoing: VirtualCard, tmp_path: Path) -> None:
    said = np.random.default_rng(2).normal(scale=4000, size=RATE).astype(np.int16)
    both = speak(echoing, tmp_path, said=said)
    assert both[:, 1].any()
    voice = both[:, 0] - np.rint(np.convolve(both[:, 1], response())[: len(both)])
    first = int(np.flatnonzero(np.abs(voice) > 100)[0])
    best = max(range(max(0, first - 5), first + 6), key=lambda start: float(voice[start : start + RATE] @ said))
    assert np.abs(voice[best : best + RATE] - said).max() < 60
    assert np.abs(voice[:best]).max(initial=0) < 60 and np.abs(voice[best + RATE :]).max(initial=0) < 60


def test_a_card_with_an_echo_can_be_plugged_in_again(tmp_path: Path) -> None:
    with VirtualCard(response()) as card:
        card.unload()
        card.reload()
        both = speak(card, tmp_path)
    assert np.abs(both[:, 0]).max() > 1000


def test_a_card_without_an_echo_has_none(card: VirtualCard, tmp_path: Path) -> None:
    assert not speak(card, tmp_path)[:, 0].any()


def test_unplugging_ends_streams_and_plugging_in_brings_the_card_back(tmp_path: Path) -> None:
    with VirtualCard() as card:
        process = pyaudio(card, "hear until lost", tmp_path / "x")
        card.unload()
        assert process.communicate(timeout=5)[0] == "lost\n"
        card.reload()
        with card.record(tmp_path / "both.wav"):
            assert card.play(SECOND, RATE).wait(5)
        assert read(tmp_path / "both.wav")[:, 0].any()


def test_a_suspended_card_moves_no_sample_until_it_is_resumed(card: VirtualCard) -> None:
    card.suspend()
    playing = card.play(SECOND[:4800], RATE)
    assert not playing.wait(0.5)
    card.resume()
    assert playing.wait(5)


def test_a_recording_that_cannot_be_written_is_told(card: VirtualCard) -> None:
    recording = card.record(Path("/dev/full"))
    assert card.play(SECOND, RATE).wait(5)
    with pytest.raises(EarshotError, match=r"cannot write /dev/full: .*No space left"):
        recording.stop()


def test_the_card_leaves_nothing_behind(tmp_path: Path) -> None:
    with VirtualCard() as card:
        assert card.directory.exists()
    assert not card.directory.exists()


def test_the_card_dies_with_its_process() -> None:
    program = (
        "from device.demo.card import VirtualCard\nwith VirtualCard() as c: print(c.directory, flush=True), input()"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    directory = Path(parent.stdout.readline().strip())
    assert directory.exists()
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate(timeout=5)
    end, pause = time.monotonic() + 3, threading.Event()
    while directory.exists() and time.monotonic() < end:
        pause.wait(0.02)
    assert not directory.exists()


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EarshotError, match="apt install pulseaudio"), VirtualCard():
        pass
