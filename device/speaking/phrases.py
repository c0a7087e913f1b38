"""What is wrong, in words for a kitchen: which sentence stands for which code of an error, and its sound. And one
for when all is well, after an installation.

The sounds lie in `reasons/`, made by `python -m device.demo.phrases`: a speaker without a network cannot ask for them.
"""

import logging
import wave
from pathlib import Path

import numpy as np

from device.audio import RATE, to_float

log = logging.getLogger(__name__)

FOLDER = Path(__file__).parent / "reasons"
TEXTS = {
    "network": "I cannot connect. Please check the network.",
    "name": "I cannot find the agent. Please check the network.",
    "unanswered": "The agent does not answer. Please try later.",
    "certificate": "I cannot trust the agent. Is my clock right?",
    "key": "The agent rejects my key. Please check it.",
    "inactive": "This device is not active. Please check the account.",
    "settings": "The agent rejects my settings. Please check them.",
    "address": "There is no agent at this address. Please check it.",
    "credit": "The account has no credit. Please add some.",
    "busy": "The agent is busy. Please try later.",
    "fault": "The agent has a problem. Please try later.",
    "ready": "I am ready. What can I do?",
    "echo": "I hear myself. To interrupt me, say the wake word.",
}
"""What is wrong, and what to do. What has one remedy has one sentence."""
NAMES = {
    "no_network": "network",
    "name_not_found": "name",
    "connection_lost": "network",
    "tls_failed": "network",
    "nobody_there": "unanswered",
    "timeout": "unanswered",
    "tls_refused": "certificate",
    "key_refused": "key",
    "token_refused": "key",
    "options_refused": "settings",
    "device_inactive": "inactive",
    "not_found": "address",
    "not_a_websocket": "address",
    "no_credit": "credit",
    "server_busy": "busy",
    "server_fault": "fault",
    "ready": "ready",
    "echo": "echo",
}
GENERAL = "fault"
"""For all other codes, most of which are words of an agent."""

_BLOCK = RATE // 10
"""Samples. A Fourier transform is quick where the length has small factors only."""


def length_s(code: str) -> float:
    """How long the phrase for `code` sounds; 0 where `render` would be empty."""
    return len(_read(code)) / RATE


def render(code: str, rate: int) -> np.ndarray:
    """The phrase for `code` as float32 of -1..1 at `rate` hertz.

    It reads a file and computes, together too long for the thread that plays. Never raises: where the file is missing or
    damaged, a warning is logged and the phrase is empty, for the lights show the failure all the same.
    """
    pcm = _read(code)
    padded = np.zeros((len(pcm) // _BLOCK + 1) * _BLOCK, np.float32)
    padded[: len(pcm)] = to_float(pcm)
    # All of it is there, silent at both ends: a transform loses nothing, and takes a fifth of the time of `samplerate`.
    length = round(len(padded) * rate / RATE)
    sound = np.fft.irfft(np.fft.rfft(padded), length)[: round(len(pcm) * rate / RATE)]
    scaled: np.ndarray = (sound * (length / len(padded))).astype(np.float32)
    return scaled


def _read(code: str) -> np.ndarray:
    """The phrase as it lies in its file: int16, mono, 16 kHz."""
    path = FOLDER / f"{NAMES.get(code, GENERAL)}.wav"
    try:
        with wave.open(str(path)) as wav:
            if wav.getparams()[:3] != (1, 2, RATE):
                raise wave.Error("it is not 16-bit mono at 16 kHz")
            pcm = wav.readframes(wav.getnframes())
    except (OSError, EOFError, RuntimeError, wave.Error) as error:  # RuntimeError: a chunk longer than the one it is in
        reason = str(error) or "it is cut short"
        log.warning("! cannot say why: %s is missing or damaged (%s). Run install.sh again.", path, reason)
        return np.zeros(0, np.int16)
    return np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2")
