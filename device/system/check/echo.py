"""The echo: whether what the speaker says is taken out of what the microphone hears, as it will be in a conversation."""

import time
from typing import NamedTuple

import numpy as np

from device.audio import FRAME_S, FRAME_SAMPLES, RATE, Frame, to_float, to_int16, to_mono
from device.config import Config
from device.errors import HardwareError
from device.events import EchoMeasured
from device.hearing.canceller import Canceller
from device.speaking.phrases import render
from device.system.check.report import Result, failed, ok, skipped, warning
from device.system.check.sound import Cards
from device.system.check.streams import loudness, play_and_listen

_PHRASE = "ready"
_ROUNDS = 3
"""A canceller takes a moment to learn a room, and the phrase is short: it is given the same again."""
_AHEAD_S = 0.06
"""What is played is known before it is heard: the speaker writes three periods ahead."""


class Recording(NamedTuple):
    """What was played and what was heard, int16 at 16 kHz, from `played_at` and `heard_from` on (seconds, CLOCK_MONOTONIC)."""

    played: np.ndarray
    played_at: float
    heard: np.ndarray
    heard_from: float


def echo(config: Config, cards: Cards | None) -> Result:
    """Says a phrase, and says how much of it is left. Of a sound card that does not work its own part tells."""
    if cards is None:
        return skipped("there are no sound cards")
    canceller = Canceller(config.microphone)
    try:
        canceller.load()  # it rests until it is there
    except HardwareError as error:
        return failed(str(error), "")
    try:
        recording = _record(config, cards)
    except HardwareError:
        return skipped("it needs microphone and speaker")
    measured, load = _measure(canceller, recording)
    hardware = not config.microphone.echo_cancellation
    figures = {  # the delay is beyond what the driver says
        "by": "hardware" if hardware else "earshot",
        "erle_db": _rounded(measured.erle_db),
        "delay_ms": _rounded(measured.delay_ms),
        "load_percent": round(load * 100, 1),
        "code": measured.trouble,
    }
    if measured.trouble:
        return warning(measured.message, "Until then the wake word and the button interrupt a reply.", **figures)
    if measured.erle_db is None:
        return ok("the microphone hears too little of the speaker to tell what is taken out", **figures)
    return ok(f"the microphone hears the speaker; {measured.erle_db:.0f} dB of that are taken out", **figures)


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 1)


def _record(config: Config, cards: Cards) -> Recording:
    microphone, speaker = config.microphone, config.speaker
    output = cards.open_output(speaker.device, speaker.rate)
    try:
        source = cards.open_input(microphone.device, microphone.channels, microphone.rate)
        try:
            level = loudness(speaker.volume)
            sound, played_at, heard_from = play_and_listen(output, source, render(_PHRASE, output.rate) * level)
            heard = _at_our_rate(to_mono(sound.reshape(-1), source.channels, microphone.channel), source.rate)
            played = to_int16(render(_PHRASE, RATE) * level)
            return Recording(played, played_at + output.latency_s, heard, heard_from)
        finally:
            source.close()
    finally:
        output.close()


def _at_our_rate(sound: np.ndarray, rate: int) -> np.ndarray:
    if rate == RATE:
        return sound
    import samplerate

    return to_int16(samplerate.resample(to_float(sound), RATE / rate, "sinc_fastest"))


def _measure(canceller: Canceller, recording: Recording) -> tuple[EchoMeasured, float]:
    """What the canceller makes of it when it knows the room, and which part of a core it takes."""
    heard = _frames(recording.heard, recording.heard_from)
    played = _frames(recording.played, recording.played_at)
    long_s = (len(heard) + 1) * FRAME_S
    began = time.monotonic()
    for number in range(_ROUNDS):
        later_s = number * long_s
        coming = [frame._replace(t=frame.t + later_s) for frame in played]
        for frame in heard:
            t = frame.t + later_s
            while coming and coming[0].t <= t + _AHEAD_S:
                canceller.played(coming.pop(0))
            canceller.clean(frame._replace(t=t), engaged=True)
        measured = canceller.judge(number + 1, len(played) * FRAME_S)
    return measured, (time.monotonic() - began) / (_ROUNDS * len(heard) * FRAME_S)


def _frames(sound: np.ndarray, begin: float) -> list[Frame]:
    whole = sound[: len(sound) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return [Frame(samples.tobytes(), begin + (number + 1) * FRAME_S) for number, samples in enumerate(whole)]
