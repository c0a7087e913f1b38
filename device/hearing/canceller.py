"""The echo canceller: takes what we play out of what the microphone hears, and knows whether it does."""

from collections import deque

import numpy as np

from device.audio import FRAME_SAMPLES, FULL_SCALE, SILENT_FRAME, Frame
from device.config import Microphone as Settings
from device.events import EchoMeasured
from device.hearing.alignment import SOUNDS, Alignment
from device.hearing.apm import Apm, WebRtc
from device.hearing.delay import WINDOW
from device.hearing.erle import SILENT_DBFS, Erle, dbfs
from device.hearing.linear import Linear
from device.hearing.played import mean_square
from device.hearing.verdict import WORKS_DB, Found, verdict

REST_S = 5.0
"""After this long without a session and a sound of ours it rests."""
_LOUD_DB = 15.0
"""Above the noise: something sounds in the room."""
_TAKEN = 10 ** (6 / 10)
_ASTRAY_FRAMES = 12
"""If less than 6 dB is taken for so long, the room may have changed, or the delay."""
_MARGIN_DB = 3.0
"""By which our echo may be louder than it usually is."""
_UNSURE_S = 1.0
"""After samples were lost our echo comes through until it is learned anew: so long nothing is believed to be of people."""
_MOST_DB = 22.0
"""More than that the linear filter does not take out of every frame, whatever it does on the average."""
_OUR_REST_DBFS = -62.0
"""WebRTC's leaves -70 or less of us alone, and of people far more, at least now and then."""
_ROOM_FRAMES = 5
"""So long, 0.1 s, it must be soft to be the room: the card, and the suppressor, leave out a frame now and then."""
_ABOVE_ROOM_DB = 8.0
"""Above the softest that was heard of the room, which its noise does not reach."""
_LOUDER_DB, _SOFTER_DB = 6.0, -18.0
"""How loud our echo may be against what we give: behind a strong amplifier what we play is far softer, and both cancellers,
made for what is not, take next to nothing out."""
_STEP_DB = 6.0
"""Of what we play is made louder: each change costs a second of learning."""
_RISE_DB = 0.02
"""A frame, by which it is believed to have become louder."""


class Canceller:
    """To be used on one thread: `played` with all that is played, as soon as it is written; then `clean` with what is heard.

    `apm` is what takes the echo out; by default it is WebRTC's, once `load` has been called.
    """

    def __init__(self, settings: Settings, apm: Apm | None = None) -> None:
        self._settings = settings
        self._apm = apm if settings.echo_cancellation else None
        self._alignment = Alignment()
        self._erle = Erle()
        self._linear = Linear()
        self._linear_erle = Erle()
        self._left = np.zeros(WINDOW, np.int16)
        """What the linear filter left of the last frames."""
        self._astray = 0
        """Frames for which it has taken hardly anything of us."""
        self.let_through = True
        """What `clean` left of the last frame is more than our rest and the room explain; so it is where it rests."""
        self._room_dbfs: float | None = None
        """How loud the room is in what `clean` leaves while nothing of ours sounds: its gain may be any."""
        self._quiet_dbfs: deque[float] = deque(maxlen=_ROOM_FRAMES)
        """The newest frames of which that is learned."""
        self.linear = Frame(SILENT_FRAME, 0.0)
        """The frame that was cleaned last as a linear filter leaves it, for those who listen for people."""
        self._found = Found()
        self._cleaned = np.zeros(WINDOW, np.int16)
        """What was made of the last frames."""
        self._gain = 1.0
        """By which what we play is made louder."""
        self._heard_dbfs: deque[float] = deque(maxlen=3)
        self._played_at = float("-inf")
        self._breaks = 0
        self._broken_at = float("-inf")
        """When samples were lost last, or the alignment changed."""
        self._judged = 0, 0.0
        """The reply that was judged last, and how much of it had been played: it may go on."""

    def load(self) -> None:
        """Load WebRTC's, if it is wanted: 0.2 s here, seconds on a small Pi. On any thread; `clean` rests until it is there.

        Raises:
            HardwareError: it cannot be loaded.
        """
        if self._settings.echo_cancellation and self._apm is None:
            self._apm = WebRtc(self._settings)

    @property
    def playing(self) -> bool:
        """What we play sounds in the frame that was cleaned last, or sounded within 0.3 s before it."""
        return self._alignment.playing

    @property
    def residual_dbfs(self) -> float:
        """How loud what is left of us may be in `linear`: -100 where we are not heard, 0 as long as nothing was measured."""
        if not self.playing or self._alignment.missing:
            return SILENT_DBFS
        if (soft := self._erle.soft_dbfs) is not None:
            return soft
        erle_db = self._erle.db if self._apm is None else self._linear_erle.db
        if erle_db is None:
            return 0.0
        echo = dbfs(self._alignment.recent()) + self._erle.return_db + _MARGIN_DB
        taken = min(max(0.0, erle_db), _MOST_DB)
        return max(SILENT_DBFS, min(echo, max(self._heard_dbfs, default=0.0)) - taken)

    def played(self, frame: Frame) -> None:
        """Take the next frame that is played, which is heard at its `t`. In a silence of more than 0.5 s there are none."""
        self._played_at = frame.t
        self._alignment.play(frame)
        self._found.played += 1
        self._found.silent += mean_square(np.frombuffer(frame.pcm, np.int16)) < SOUNDS

    def clean(self, frame: Frame, *, engaged: bool) -> Frame:
        """What was heard, without what we play; `frame` itself where nothing is to be done, as while no session is open
        (`engaged`) and nothing was played for REST_S."""
        samples = np.frombuffer(frame.pcm, np.int16)
        self._alignment.hear(samples, frame.t)
        if self._breaks != self._alignment.breaks:
            self._found.breaks += self.playing
            self._breaks, self._broken_at = self._alignment.breaks, frame.t
            self._linear_erle.forget_recent()
        self.linear, self.let_through = frame, True
        apm = self._apm  # another thread may just be loading it
        loading = apm is None and self._settings.echo_cancellation
        if loading or (not engaged and frame.t - self._played_at > REST_S):
            return frame
        self._found.heard += 1
        cleaned = samples
        if apm is not None:
            cleaned = samples.copy()
            apm.process(self._louder(self.reference()), cleaned)
            self._take_out(frame, samples)
        self._cleaned[:-FRAME_SAMPLES] = self._cleaned[FRAME_SAMPLES:]
        self._cleaned[-FRAME_SAMPLES:] = cleaned
        self._measure(frame.t, mean_square(samples), mean_square(cleaned))
        unsure = apm is not None and self.playing and frame.t - self._broken_at < _UNSURE_S
        self._found.sounding += self.playing
        self._found.unsure += unsure
        self.let_through = self._is_more(samples, dbfs(mean_square(cleaned))) and not unsure
        if apm is None:
            return frame
        return Frame(cleaned.tobytes(), frame.t)

    def _is_more(self, heard: np.ndarray, cleaned_dbfs: float) -> bool:
        if not self.playing and heard.any():  # a microphone that is switched off hears no room
            self._learn_room(cleaned_dbfs)
        room = self._room_dbfs
        return cleaned_dbfs > max(_OUR_REST_DBFS, SILENT_DBFS if room is None else room + _ABOVE_ROOM_DB)

    def _learn_room(self, cleaned_dbfs: float) -> None:
        self._quiet_dbfs.append(cleaned_dbfs)
        if len(self._quiet_dbfs) == _ROOM_FRAMES:
            quiet, room = max(self._quiet_dbfs), self._room_dbfs
            self._room_dbfs = quiet if room is None else min(quiet, room + _RISE_DB)

    def _take_out(self, frame: Frame, samples: np.ndarray) -> None:
        reference = self._alignment.exact() * self._gain
        if not self.playing and not reference.any():
            self._left[:] = 0
            return
        left = self._linear.take_out(reference, samples)
        self._left[:-FRAME_SAMPLES] = self._left[FRAME_SAMPLES:]
        self._left[-FRAME_SAMPLES:] = left
        self.linear = Frame(left.tobytes(), frame.t)
        heard, rest = mean_square(samples), mean_square(left)
        self._linear_erle.hear(heard, rest, self._alignment.level())
        self._astray = self._astray + 1 if SOUNDS < heard < _TAKEN * rest else 0
        if self._astray == _ASTRAY_FRAMES:
            self._astray = 0
            if self.is_ours():  # and not somebody who talks over us
                self._linear.doubt_all()

    def is_ours(self) -> bool:
        """Whether what `linear` was of late is still our own voice. It takes 1.5 ms here: ask when it matters."""
        return self._alignment.is_anywhere_in(self._left)

    def _measure(self, t: float, heard: float, cleaned: float) -> None:
        self._heard_dbfs.append(dbfs(heard))
        self._erle.hear(heard, cleaned, self._alignment.level())
        if t <= self._played_at and self._alignment.recent() < SOUNDS:
            self._found.silence_heard += 1
            self._found.silence_loud += dbfs(heard) > self._erle.noise_dbfs + _LOUD_DB
        found = self._alignment.measure()
        if found is not None:
            self._found.looks += 1
            self._found.found += found
            if found and self._alignment.wrong_s is not None:
                self._raise(t)
            if found and (self._erle.db or 0.0) < 2 * WORKS_DB:
                self._found.left += self._alignment.is_in(self._cleaned)

    def _raise(self, t: float) -> None:
        """Find out by how much what we play is to be made louder."""
        louder = self._erle.return_db
        if _SOFTER_DB <= louder - self._erle.gain_db <= _LOUDER_DB:
            return
        wanted = min(
            _STEP_DB * np.ceil(louder / _STEP_DB), _STEP_DB * (self._alignment.played.headroom_db() // _STEP_DB)
        )
        gain_db = max(0.0, float(wanted))
        if gain_db != self._erle.gain_db:
            self._erle.gain_db = self._linear_erle.gain_db = gain_db
            self._gain = 10 ** (gain_db / 20)
            self._linear_erle.forget_recent()
            self._linear.doubt_all()
            self._broken_at = t

    def _louder(self, reference: np.ndarray) -> np.ndarray:
        if self._gain == 1.0:
            return reference
        louder: np.ndarray = np.clip(reference * self._gain, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
        return louder

    def reference(self) -> np.ndarray:
        """What we played that belongs to the frame that was cleaned last, always equally long before its echo, some 40 to
        450 ms; int16, shape (320,)."""
        return self._alignment.reference()

    def judge(self, reply: int, played_s: float) -> EchoMeasured:
        """What is known of everything since the last call; to be called when `reply` ended, of which `played_s` was played."""
        before_s = self._judged[1] if self._judged[0] == reply else 0.0
        self._judged = reply, played_s
        judged = verdict(
            self._found,
            reply,
            played_s - before_s,
            erle_db=self._erle.reply_db,
            lead_s=self._alignment.lead_s,
            wrong_s=self._alignment.wrong_s,
            far_s=self._alignment.far_s,
            return_db=self._erle.return_db,
            ours=self._settings.echo_cancellation,
        )
        self._found = Found()
        self._erle.forget_reply()
        return judged
