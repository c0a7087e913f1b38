"""Which part of what we play belongs to what the microphone hears: by the clock at first, then by likeness. Pure.

The canceller wants it always equally long before its echo: it learns anew for a second or two when that changes by a fraction
of a millisecond. Frames' times waver by more, cards' clocks drift apart, drivers do not know their latency, samples get lost.
So positions are counts of samples, times only say where to begin, and the delay is measured four times a second.
"""

import numpy as np

from device.audio import FRAME_S, FRAME_SAMPLES, RATE, Frame
from device.hearing.delay import AROUND, EARLIER, FARTHER, LATER, WINDOW, Drifting, Likeness, Pace, explains, likeness
from device.hearing.played import Played

SOUNDS = 1e-7
"""Mean square above which something sounds: -70 dBFS."""
LEAD = round(0.02 * RATE)
"""How long before it is heard, by what the driver says, we give what we play, if we have it."""
_SPARE = round(0.01 * RATE)
"""So much later we give it after it came too late."""
_NEAREST, _FARTHEST = round(0.005 * RATE), round(0.45 * RATE)
"""Leads that are as good, measured; the canceller is deaf beyond 0.5 s, and before 0 there is nothing to cancel with."""
_FARTHEST_EXACT = round(0.06 * RATE)
"""Longer leads `exact` makes LEAD: what a linear filter spans it needs for the room."""
_REACH = round(-0.2 * RATE), round(0.8 * RATE)
"""How wrong a driver may be."""
_MEASURE_FRAMES = 12
_FARTHER_LOOKS = 4
"""After so many looks without success there is one into the distance, which takes 10 ms."""
_SAME = 24
"""Samples by which two measurements of one delay may differ: 1.5 ms."""
_CLOCK = round(0.008 * RATE)
"""Samples by which the clock may seem to move without anything having happened."""
_LATE_FRAMES = 5
"""Too late by a stall of the machine come fewer: what is lost with them is less than what a change costs."""
_IN_TIME_FRAMES = 100
"""After so many in a row that came in time what a stall cost is undone, 2 s."""
_TAIL_FRAMES = 15
"""0.3 s, in which the room fades."""
_LOST_S = 0.01
"""What we play is heard so much later than right after what was before it: the card ran dry for a moment."""
_SURE_FRAMES = 25
"""After a stall of the machine frames come late, but all of them; what comes later than that was not captured."""


class Alignment:
    """Takes what is played and what is heard, frame by frame; gives what of the one belongs to the other."""

    def __init__(self) -> None:
        self.played = Played()
        self._heard = 0
        """Frames of the microphone so far."""
        self._pace = Pace(_SURE_FRAMES)
        self._window = np.zeros(WINDOW, np.int16)
        """What was heard last."""
        self._behind: int | None = None
        """By how many samples the microphone's count is ahead of what we give for it; None before the first sound."""
        self._delay = Drifting()
        """By how many it is ahead of what is heard with it, once that was measured."""
        self._lead = float(LEAD)
        self._wrong = 0.0
        """By how many samples later than the driver says we are heard."""
        self._candidate: float | None = None
        """A delay that was measured once."""
        self._late = 0
        """Frames in a row of what we play that came too late,"""
        self._in_time = 0
        """and that would not have, with the lead that we want."""
        self._missed = 0
        """Looks without success since the last one with it."""
        self.far_s: float | None = None
        """How much later than the driver says we are heard, where that is out of reach."""
        self.breaks = 0
        """How often samples were lost, or what we give moved: what was learned of the echo may be wrong since then."""
        self._told_t = float("inf")

    @property
    def wrong_s(self) -> float | None:
        """How much later than the driver says we are heard (seconds); None before it was measured."""
        return self._wrong / RATE if self._delay.known else None

    @property
    def missing(self) -> bool:
        """What we play is not heard: headphones, a volume of nothing, or hardware that takes it out."""
        return self._missed >= _FARTHER_LOOKS

    @property
    def lead_s(self) -> float:
        """How long before its echo what we play is given (seconds); below 0, none of it can be taken out."""
        return self._lead / RATE

    def play(self, frame: Frame) -> None:
        """Take the next frame that is played; if it comes later than the one before it ended, there was silence."""
        if self.played.add(frame):
            self._ask_the_clock()
        elif frame.t > self._told_t + FRAME_S + _LOST_S:
            self.breaks += 1
        self._told_t = frame.t
        if self._behind is None:
            if not self._heard:
                return
            self._behind = round(self._declared() - LEAD)
        late = self._given() - (self.played.frames - 1) * FRAME_SAMPLES
        self._late = self._late + 1 if late > 0 else 0  # silence was given for it
        self._in_time = self._in_time + 1 if late + max(0.0, LEAD - self._lead) <= 0 else 0
        if self._late == _LATE_FRAMES:
            self._behind += late + _SPARE
            self._lead -= late + _SPARE
            self._late = 0
            self.breaks += 1

    def hear(self, samples: np.ndarray, t: float) -> None:
        """Take the next frame of the microphone, which ended at `t`."""
        if lost := self._pace.missing(t, self._heard):
            self._heard += lost
            self.breaks += 1
            self._shift(np.zeros(min(lost * FRAME_SAMPLES, WINDOW), np.int16))
        self._pace.tick(t, self._heard)
        self._heard += 1
        self._shift(samples)
        if self._delay.known and self._behind is not None:
            error = self._expected() - self._lead - self._behind
            if abs(error) > 0.75:  # one sample more or less now and then: the canceller does not mind
                self._behind += round(error)
            self._come_back()

    def _come_back(self) -> None:
        """Where what is expected was not played yet, by far, nobody would look for it again: then the clock is believed.

        Frames that were taken for lost and came in a burst after a stall lead there.
        """
        end = self.played.frames * FRAME_SAMPLES - _REACH[0]
        if self._now - self._expected() > end >= self._now - self._declared():
            if not _REACH[0] <= self._wrong <= _REACH[1]:
                self._wrong = 0.0
            self._ask_the_clock()  # where the driver says a little too much, each sound ends here, and nothing is wrong

    def _shift(self, samples: np.ndarray) -> None:
        self._window[: -len(samples)] = self._window[len(samples) :]
        self._window[-len(samples) :] = samples

    def reference(self) -> np.ndarray:
        """What is to be given for the frame that was heard last; int16, shape (320,)."""
        return self.played.part(self._given() - FRAME_SAMPLES, FRAME_SAMPLES)

    def exact(self) -> np.ndarray:
        """The same for a short filter: not long before its echo, and equally long to a part of a sample, so that clocks that
        drift apart cause no steps; float64."""
        behind = float(self._behind or 0)
        if self._delay.known and self._behind is not None:
            behind = self._expected() - (self._lead if self._lead <= _FARTHEST_EXACT else LEAD)
        return self.played.between(self._now - behind - FRAME_SAMPLES, FRAME_SAMPLES)

    @property
    def _now(self) -> int:
        """The microphone's count of samples."""
        return self._heard * FRAME_SAMPLES

    def _given(self) -> int:
        """To which sample of what was played we gave it."""
        return self._now - self._behind if self._behind is not None else 0

    # --- How loud we are, as it was played, in the frame that was heard last ----------------------------------------

    def level(self) -> float:
        """Mean square, of full scale 1."""
        return self._loudest(1, 0)

    def recent(self) -> float:
        """The loudest mean square of 0.1 s."""
        return self._loudest(5, 1)

    @property
    def playing(self) -> bool:
        """We sound in it, or did within 0.3 s."""
        return self._loudest(_TAIL_FRAMES, 0 if self._delay.known else 5) > SOUNDS

    def _loudest(self, before: int, after: int) -> float:
        if self._behind is None:
            return 0.0
        number = self._heard - 1 - round(self._expected() / FRAME_SAMPLES)
        return self.played.loudest(number - before, number + after)

    # --- The delay ------------------------------------------------------------------------------------------------

    def _declared(self) -> float:
        """The delay by what the driver says of its latency."""
        return (self.played.pace.zero - self._pace.zero) * RATE

    def _expected(self) -> float:
        if not self._delay.known:
            return self._declared() + self._wrong
        return self._delay.at(self._now)

    def _ask_the_clock(self) -> None:
        """Where samples were lost and nobody could hear it, the clock knows it."""
        if self._delay.known and abs(self._declared() + self._wrong - self._expected()) > _CLOCK:
            self._set(self._declared() + self._wrong)

    def measure(self) -> bool | None:
        """Look for what is heard in what is played, now and then: whether it was found, None where there was no look."""
        if self._heard % _MEASURE_FRAMES or self._loudest(WINDOW // FRAME_SAMPLES, 0) < 10 * SOUNDS:
            return None
        delay, clear = self._near(self._window)
        if not clear:
            declared = round(self._declared())
            self._missed += 1
            last = FARTHER if self._missed % _FARTHER_LOOKS == 0 else LATER
            delay, clear = self._measured(self._window, declared + EARLIER, declared + last)
        if clear:
            self._track(delay)
            self._missed = 0
        return clear

    def is_in(self, cleaned: np.ndarray) -> bool:
        """Whether we are still heard in what was made of the last WINDOW samples (int16) that were heard."""
        return self._near(cleaned).clear  # cleaning takes some milliseconds

    def is_anywhere_in(self, left: np.ndarray) -> bool:
        """Whether most of it is us, whatever the delay has become."""
        declared = round(self._declared())
        found = self._near(left)
        if not found.clear:
            found = self._measured(left, declared + EARLIER, declared + LATER)
        start = self._now - WINDOW - round(found.lag)
        return found.clear and explains(self.played.part(start, WINDOW), left)

    def _near(self, heard: np.ndarray) -> Likeness:
        """The delay, if it is still about what it was."""
        if not self._delay.known:
            return Likeness(0.0, clear=False)
        middle = round(self._expected())
        return self._measured(heard, middle - AROUND, middle + AROUND)

    def _measured(self, heard: np.ndarray, lowest: int, highest: int) -> Likeness:
        """The delay between these two at which what was `heard` is most like what was played."""
        start = self._now - WINDOW - highest
        lag, clear = likeness(self.played.part(start, WINDOW + highest - lowest), heard)
        return Likeness(highest - lag, clear)

    def _track(self, delay: float) -> None:
        if self._delay.known and abs(delay - self._expected()) < _SAME:
            self._follow(delay)
        elif self._candidate is None or abs(delay - self._candidate) > _SAME:
            self._candidate = delay  # one alone may be another word that is alike
        else:
            self._candidate = None
            wrong = delay - self._declared()
            if _REACH[0] <= wrong <= _REACH[1]:
                self._wrong, self.far_s = wrong, None
                self._set(delay)
            else:
                self.far_s = wrong / RATE

    def _follow(self, delay: float) -> None:
        self._delay.follow(delay, self._now)
        self._wrong, self._candidate, self.far_s = self._expected() - self._declared(), None, None
        if self._lead < _NEAREST and self._in_time >= _IN_TIME_FRAMES:
            self._set(self._expected())

    def _set(self, delay: float) -> None:
        """This is the delay now: what we give moves with it from the next frame on, so that the canceller sees no change."""
        if not self._delay.known and self._behind is not None:
            self._lead = delay - self._behind
            self.breaks += self._lead > _FARTHEST_EXACT
        else:
            self.breaks += 1
        if not _NEAREST <= self._lead <= _FARTHEST:
            self._lead = float(LEAD)
        self._delay.set(delay, self._now)
