"""What is given for a frame must lie equally long before its echo, whatever the clocks do."""

import numpy as np
import pytest

from device.audio import FRAME_SAMPLES, RATE, Frame
from device.hearing.alignment import LEAD, Alignment
from tests.hearing.echoing import LATENCY, echo, feed, noise, silence, syllables


class Aligned:
    """Keeps what was given for what was heard, and finds how long before it it was."""

    def __init__(self, exact: bool = False) -> None:
        self.alignment = Alignment()
        self.give = self.alignment.exact if exact else self.alignment.reference
        self.given: list[np.ndarray] = []
        self.playing: list[bool] = []

    def play(self, frame: Frame) -> None:
        self.alignment.play(frame)

    def hear(self, frame: Frame) -> None:
        self.alignment.hear(np.frombuffer(frame.pcm, np.int16), frame.t)
        self.given.append(self.give())
        self.alignment.measure()
        self.playing.append(self.alignment.playing)

    def lead(self, heard: np.ndarray, until_s: float, length_s: float = 0.4) -> int:
        """Samples by which what was given until then was ahead of what was heard."""
        end, count = round(until_s * RATE), round(length_s * RATE)
        given = np.concatenate(self.given)[end - count - 8000 : end].astype(float)
        size = 1 << int(np.ceil(np.log2(len(given) + count)))
        cross = np.fft.rfft(heard[end - count : end], size) * np.fft.rfft(given, size).conj()
        shift = np.fft.irfft(cross / (np.abs(cross) + 1e-9))
        top = int(shift.argmax())
        return 8000 + (top - size if top > size // 2 else top)


def without(heard: np.ndarray, lost: range) -> np.ndarray:
    return np.delete(heard, slice(lost.start * FRAME_SAMPLES, lost.stop * FRAME_SAMPLES))


def test_it_is_given_20_ms_before_it_is_heard():
    aligned, played = Aligned(), syllables(3.0)
    heard = echo(played, LATENCY)
    feed(aligned, played, heard)
    assert aligned.lead(heard, 3.0) == LEAD


@pytest.mark.parametrize("late_ms", [20, 150, 300, 440])
def test_a_lead_that_serves_is_left_alone_although_the_driver_was_wrong(late_ms):
    aligned, played = Aligned(), syllables(4.0)
    heard = echo(played, late_ms * 16)
    feed(aligned, played, heard)
    assert aligned.lead(heard, 1.0) == aligned.lead(heard, 4.0)
    assert aligned.alignment.wrong_s == pytest.approx(late_ms / 1000 - 0.04, abs=0.001)


@pytest.mark.parametrize(("driver_ms", "late_ms"), [(240, 40), (0, 780)])
def test_a_driver_that_is_far_wrong_is_corrected(driver_ms, late_ms):
    aligned, played = Aligned(), syllables(4.0)
    heard = echo(played, late_ms * 16)
    feed(aligned, played, heard, driver_s=driver_ms / 1000)
    assert aligned.lead(heard, 4.0) == pytest.approx(LEAD, abs=1)


@pytest.mark.parametrize("late_ms", [40, 150, 300, 440])
def test_a_short_filter_gets_a_short_lead_however_wrong_the_driver_is(late_ms):
    aligned, played = Aligned(exact=True), syllables(4.0)
    heard = echo(played, late_ms * 16)
    feed(aligned, played, heard)
    assert aligned.lead(heard, 4.0) == pytest.approx(LEAD, abs=1)


def test_what_is_heard_seconds_late_is_out_of_reach_but_known():
    aligned, played = Aligned(), syllables(8.0)
    feed(aligned, played, echo(played, 2 * RATE))
    assert aligned.alignment.far_s == pytest.approx(1.96, abs=0.001)
    assert aligned.alignment.wrong_s is None


@pytest.mark.parametrize("ppm", [-200, 200])
def test_the_lead_stays_while_clocks_drift_apart(ppm):
    aligned, played = Aligned(), syllables(10.0)
    place = np.arange(len(played)) * (1 - ppm * 1e-6) - LATENCY
    heard = (np.interp(place, np.arange(len(played)), played) / 3 + noise(len(played))).astype(np.int16)
    feed(aligned, played, heard)  # the delay changes by 32 samples
    assert abs(aligned.lead(heard, 9.9) - aligned.lead(heard, 4.0)) <= 2


def test_a_delay_that_steps_is_followed():
    aligned, played = Aligned(), syllables(6.0)
    heard = echo(played, LATENCY)
    heard[3 * RATE :] = echo(played, LATENCY + 800)[3 * RATE :]
    feed(aligned, played, heard)
    assert aligned.lead(heard, 6.0) == pytest.approx(aligned.lead(heard, 3.0), abs=1)


def test_samples_that_the_microphone_lost_are_made_up_for():
    aligned, played, lost = Aligned(), syllables(6.0), range(150, 153)
    heard = echo(played, LATENCY)
    feed(aligned, played, heard, lost=lost)
    given = without(heard, lost)
    assert aligned.lead(given, 5.9) == pytest.approx(aligned.lead(given, 3.0), abs=1)


def test_the_next_reply_begins_where_the_last_one_was():
    aligned = Aligned()
    played = np.concatenate((syllables(3.0), silence(4.0), syllables(2.0, seed=2)))
    heard = echo(played, 3000)
    feed(aligned, played, heard)
    assert aligned.lead(heard, 7.6) == aligned.lead(heard, 3.0)


def test_what_was_lost_in_silence_the_clock_tells():
    aligned, lost = Aligned(), range(200, 203)
    played = np.concatenate((syllables(3.0), silence(4.0), syllables(2.0, seed=2)))
    heard = echo(played, LATENCY)
    feed(aligned, played, heard, lost=lost)
    given = without(heard, lost)
    assert aligned.lead(given, 7.4) == pytest.approx(aligned.lead(given, 3.0), abs=1)


def test_after_a_mute_of_a_minute_it_is_aligned_at_once():
    aligned, played = Aligned(), syllables(3.0)
    heard = echo(played, 3000)
    feed(aligned, played, heard)
    feed(aligned, played, heard, begin=163.0)
    both = np.concatenate((heard, heard))
    assert aligned.lead(both, 3.8) == pytest.approx(aligned.lead(both, 3.0), abs=1)


def test_what_comes_too_late_is_given_later():
    aligned, played = Aligned(), syllables(3.0)
    heard = echo(played, LATENCY)
    feed(aligned, played, heard, driver_s=0.0)  # told only when it is written: there is no lead of 40 ms to be had
    assert 0 < aligned.lead(heard, 3.0) <= LATENCY


def test_what_stalls_took_from_the_lead_is_given_back():
    alignment, played, waiting = Alignment(), syllables(12.0), []
    heard, leads = echo(played, LATENCY), []
    for number in range(len(heard) // FRAME_SAMPLES):
        part, t = slice(number * FRAME_SAMPLES, (number + 1) * FRAME_SAMPLES), 100 + (number + 1) * 0.02
        waiting.append(Frame(played[part].tobytes(), t + LATENCY / RATE))
        behind = 4 if number in range(300, 312) else 0  # too late so often in a row
        while len(waiting) > behind:
            alignment.play(waiting.pop(0))
        alignment.hear(heard[part], t)
        alignment.measure()
        leads.append(alignment.lead_s)
    assert leads[312] < 0
    assert leads[-1] == pytest.approx(LEAD / RATE, abs=0.001)


def test_it_plays_from_its_first_to_0_3_s_after_its_last_sample_is_heard():
    aligned = Aligned()
    played = np.concatenate((silence(1.0), syllables(2.0, seed=3), silence(2.0)))
    feed(aligned, played, echo(played, LATENCY))
    sounding = [number * 0.02 for number, playing in enumerate(aligned.playing) if playing]
    assert sounding[0] == pytest.approx(1.04, abs=0.12)
    assert 3.2 < sounding[-1] < 3.4


def test_a_microphone_that_does_not_hear_us_is_known():
    aligned, played = Aligned(), syllables(4.0)
    feed(aligned, played, noise(len(played), 1000))
    assert aligned.alignment.missing
    assert aligned.alignment.wrong_s is None


@pytest.mark.parametrize("late_ms", [35, 100])
def test_at_the_end_of_a_sound_nothing_is_lost_although_the_driver_is_a_little_wrong(late_ms):
    aligned, played = Aligned(), np.concatenate((silence(1.0), syllables(3.0), silence(2.0)))
    feed(aligned, played, echo(played, late_ms * 16), driver_s=0.12)
    assert aligned.alignment.wrong_s == pytest.approx(late_ms / 1000 - 0.12, abs=0.001)
    assert aligned.alignment.breaks == 0


def test_a_burst_after_a_stall_is_not_taken_for_the_future_for_ever():
    alignment, played = Alignment(), syllables(8.0)
    heard = echo(played, LATENCY)
    for number in range(len(heard) // FRAME_SAMPLES):
        part, t = slice(number * FRAME_SAMPLES, (number + 1) * FRAME_SAMPLES), 100 + (number + 1) * 0.02
        alignment.play(Frame(played[part].tobytes(), t + LATENCY / RATE))
        if 200 <= number < 280:  # the microphone's thread stands still, and then takes all at once
            continue
        late = range(200, 281) if number == 280 else [number]
        for one in late:
            alignment.hear(heard[one * FRAME_SAMPLES : (one + 1) * FRAME_SAMPLES], t)
            alignment.measure()
    assert alignment.playing
