"""Whether somebody talks over what we play: first a suspicion, then certainty. Pure decisions over frames.

The linear canceller mutes nobody, but leaves so much of our own voice that the speech detector hears it; WebRTC's leaves
nothing of that, but mutes people as well. And a cough is speech for the detector. So all must agree: the detector, a voice's
pitch and a level that neither our own rest nor the room explains, in what the one leaves; and the other lets something through.
"""

from collections import deque
from typing import NamedTuple, Protocol

import numpy as np

from device.audio import FRAME_S, FRAME_SAMPLES, FULL_SCALE, RATE, Frame
from device.events import SpeechConfirmed, SpeechSuspected

VOICED, VOICED_MEAN = 0.5, 0.4
"""How like itself a pitch period later a voice is (1: exactly): in some frames, and on the average of those that are loud.
Claps, doors and noise are below the one; coughs, which have a voiced end, below the other."""
LOW_PART = 0.2
"""Of a voice's power so much is between LOW_HZ; of dishes next to nothing."""
LOW_HZ = (100, 700)
ABOVE_DB = 5.0
"""How far speech is above what may be left of our own voice, and above the room."""
LOWEST_DBFS = -60.0
"""Nobody talks more softly to a speaker that plays."""
RECENT = 8
"""Frames that are looked at."""
LIKELY = 0.6
"""The detector's probability from which a loud frame may be speech."""
SUSPICIOUS, SUSPICIOUS_VOICED, SUSPICIOUS_PASSED = 3, 1, 1
"""So many likely, voiced and let through ones of them raise a suspicion."""
CONFIRMED, CONFIRMED_VOICED, CONFIRMED_PASSED = 4, 4, 3
"""So many likely ones of them, and so many voiced and let through ones since the onset, confirm it."""
SURE, NEWEST = 0.7, 4
"""The detector is so sure on the average of so many newest frames: of what is no speech it changes its mind."""
HELD_BACK_S = 0.04
"""Words begin softly: so much earlier than the first loud frame somebody began to speak."""
PAUSE_FRAMES = 5
"""Soft frames within speech: stops (p, t, k), and what the canceller took with the echo."""
LOOKED_BACK = 20
"""Frames in which the onset of what is suspected is looked for."""
SUSPICION_FRAMES = 20
"""400 ms: who has not been confirmed by then was no speaker; playback is loud again."""
REST_FRAMES = 12
"""After a suspicion that came to nothing there is none for so long: coughs come in bursts."""
RISE_DB = 20.0 * FRAME_S
"""How fast the room is believed to have become louder."""


class Echo(Protocol):
    """What the canceller knows; see `canceller.Canceller`."""

    @property
    def playing(self) -> bool: ...

    @property
    def residual_dbfs(self) -> float: ...

    @property
    def let_through(self) -> bool: ...

    def is_ours(self) -> bool: ...


class _Heard(NamedTuple):
    t: float
    probability: float
    loud: bool
    likeness: float
    """See `likeness`; 0 where it is not loud."""
    voiced: bool
    passed: bool
    """WebRTC's canceller let it through."""


class BargeIn:
    """`after_ms`: for how long somebody must have talked, from the first sound of it as seen in hindsight."""

    def __init__(self, after_ms: int) -> None:
        self._after_s = after_ms / 1000
        self._window = np.zeros(2 * FRAME_SAMPLES, np.float32)
        self._heard: deque[_Heard] = deque(maxlen=max(LOOKED_BACK, round(self._after_s / FRAME_S)) + SUSPICION_FRAMES)
        self.reset()

    def reset(self) -> None:
        """Begin anew: the ear was opened."""
        self._heard.clear()
        self._window[:] = 0
        self._room_dbfs: float | None = None
        self._since: float | None = None
        """When what is suspected began."""
        self._left = 0
        """Frames until the suspicion, or the rest after it, is over."""

    def hear(self, frame: Frame, probability: float, echo: Echo) -> SpeechSuspected | SpeechConfirmed | None:
        """Take in the next frame, as the linear canceller left it; `echo` cleaned it.

        `probability`: of speech, in the newest 40 ms that were judged.
        """
        self._heard.append(self._listen(frame, probability, echo))
        self._left = max(0, self._left - 1)
        if not echo.playing:
            self._since = None
            return None
        if self._since is not None:
            return self._confirm(frame.t, echo)
        if self._left or not self._suspicious():
            return None
        self._since, self._left = self._onset(), SUSPICION_FRAMES
        return SpeechSuspected()

    def _listen(self, frame: Frame, probability: float, echo: Echo) -> _Heard:
        self._window[:FRAME_SAMPLES] = self._window[FRAME_SAMPLES:]
        self._window[FRAME_SAMPLES:] = np.frombuffer(frame.pcm, np.int16)
        level = _dbfs(self._window[FRAME_SAMPLES:])
        room = level if self._room_dbfs is None else self._room_dbfs
        self._room_dbfs = min(level, room + RISE_DB)
        least = max(LOWEST_DBFS, room + ABOVE_DB)
        if echo.playing:
            least = max(least, echo.residual_dbfs + ABOVE_DB)
        loud = level > least
        alike = likeness(self._window) if loud else 0.0
        voiced = is_voice(alike, self._window)
        return _Heard(frame.t, probability, loud, alike, voiced, loud and echo.let_through)

    def _suspicious(self) -> bool:
        recent = list(self._heard)[-RECENT:]
        return (
            _likely(recent) >= SUSPICIOUS
            and sum(one.voiced for one in recent) >= SUSPICIOUS_VOICED
            and sum(one.passed for one in recent) >= SUSPICIOUS_PASSED
        )

    def _onset(self) -> float:
        """When the first loud frame of what is heard now began."""
        onset, pause = self._heard[-1].t, 0
        for one in list(reversed(self._heard))[:LOOKED_BACK]:
            pause = 0 if one.loud else pause + 1
            if pause > PAUSE_FRAMES:
                break
            if one.loud:
                onset = one.t
        return onset - FRAME_S - HELD_BACK_S

    def _confirm(self, now: float, echo: Echo) -> SpeechConfirmed | None:
        since = self._since
        assert since is not None
        if now - since >= self._after_s - FRAME_S / 2 and self._is_speech(since) and not echo.is_ours():
            self._since, self._left = None, REST_FRAMES
            return SpeechConfirmed(since)
        if not self._left:
            self._since, self._left = None, REST_FRAMES
        return None

    def _is_speech(self, since: float) -> bool:
        heard = [one for one in self._heard if one.t > since]
        return (
            _likely(heard[-RECENT:]) >= CONFIRMED
            and sum(one.likeness for one in heard) >= VOICED_MEAN * sum(one.loud for one in heard)
            and sum(one.voiced for one in heard) >= CONFIRMED_VOICED
            and sum(one.passed for one in heard) >= CONFIRMED_PASSED
        )


def _likely(heard: list[_Heard]) -> int:
    return sum(one.loud and one.probability > LIKELY for one in heard)


def _dbfs(samples: np.ndarray) -> float:
    return 10 * float(np.log10(np.dot(samples, samples) / len(samples) / FULL_SCALE**2 + 1e-12))


_SHORTEST, _LONGEST = RATE // 400, RATE // 80
"""Of the pitch periods of people, in samples."""
_SIZE = 1024
"""Of the transform: more than 640 samples and the longest lag, so that nothing wraps around."""
_LOW = slice(LOW_HZ[0] * _SIZE // RATE, LOW_HZ[1] * _SIZE // RATE)


def is_voice(alike: float, sound: np.ndarray) -> bool:
    """Whether `sound` (float32, 640 samples), whose `likeness` is `alike`, has a pitch of its own, and lows."""
    return alike > VOICED and has_lows(sound)


def has_lows(sound: np.ndarray) -> bool:
    """Whether enough of its power is where the first formants are."""
    power = _power(sound)[_LOW.start :]  # what is lower is hum and blows
    return float(power[: _LOW.stop - _LOW.start].sum()) > LOW_PART * float(power.sum())


def likeness(sound: np.ndarray) -> float:
    """How like itself it is one pitch period later, at the best pitch: 1 is a pure buzz."""
    edges = np.diff(sound, prepend=sound[0])  # blows and hum have no edges, a voice has
    same = np.fft.irfft(_power(edges), _SIZE)
    lags = np.arange(_SHORTEST, _LONGEST + 1)
    energy = np.concatenate(([0.0], np.cumsum(edges.astype(np.float64) ** 2)))
    before, after = energy[len(sound) - lags], energy[-1] - energy[lags]
    return float(np.max(same[lags] / np.sqrt(before * after + 1e-9)))


def _power(sound: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(sound, _SIZE)
    power: np.ndarray = spectrum.real**2 + spectrum.imag**2
    return power
