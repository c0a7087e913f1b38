"""What the check hears in a recording: levels, mains hum, a chirp. Synthetic sound, and synthetic speech."""

import numpy as np
import pytest

from device.system.check import measure
from device.system.check.measure import chirp, find_chirp, hum, level
from tests.fakes import pink_noise, said, silence, tone

RATES = (16_000, 44_100, 48_000)


def noise(seconds, dbfs=-60.0, rate=16_000, seed=1):
    scale = 10 ** (dbfs / 20) * 32_768
    return np.rint(np.random.default_rng(seed).normal(scale=scale, size=round(seconds * rate))).astype(np.int16)


def mains(hertz, seconds, rate, dbfs=-40.0):
    """Hum as a bad power supply makes it: the mains, half as much of its third, a third of its second."""
    t = np.arange(round(seconds * rate)) / rate
    wave = sum(part * np.sin(2 * np.pi * hertz * n * t + n) for n, part in ((1, 1.0), (2, 0.33), (3, 0.5)))
    return np.rint(wave * 10 ** (dbfs / 20) * 32_768).astype(np.int16)


def played(rate, at_s, dbfs=-30.0, seconds=1.6):
    """A recording of the chirp alone; `dbfs` is its root mean square."""
    sound = np.zeros(round(seconds * rate))
    wave = chirp(rate)
    start = round(at_s * rate)
    sound[start : start + len(wave)] = wave / np.sqrt(np.mean(wave[: round(0.3 * rate)] ** 2)) * 10 ** (dbfs / 20)
    return np.rint(sound * 32_767).astype(np.int16)


def test_a_tone_has_the_level_that_it_was_made_with():
    found = level(tone(440, 1.0, 16_000, 0.1))
    assert found.level_dbfs == pytest.approx(-23.0, abs=0.1) and found.peak_dbfs == pytest.approx(-20.0, abs=0.1)
    assert abs(found.dc) < 1e-4 and found.clipped == 0 and not found.silent


@pytest.mark.parametrize("value", [0, -1, 300])
def test_a_line_without_a_microphone_is_silent_whatever_it_rests_at(value):
    sound = silence(1.0) + np.int16(value)
    sound[::7] += 1
    assert level(sound).silent


def test_a_room_at_night_is_no_silence():
    assert not level(noise(1.0, -87)).silent


def test_direct_current_is_told_and_is_no_level():
    found = level((noise(1.0, -60) + 6554).astype(np.int16))
    assert found.dc == pytest.approx(0.2, abs=0.001) and found.level_dbfs == pytest.approx(-60, abs=0.5)


def test_what_stands_at_full_scale_is_clipped_but_a_single_peak_is_not():
    assert level(np.clip(tone(440, 1.0, 16_000, 0.9) * 2.0, -32_768, 32_767).astype(np.int16)).clipped > 0.2
    peaks = noise(1.0)
    peaks[::500] = 32_767
    assert level(peaks).clipped == 0


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("hertz", [50, 60])
def test_mains_hum_is_told_with_its_frequency_and_level(rate, hertz):
    found = hum(mains(hertz, 1.5, rate) + noise(1.5, -60, rate), rate)
    assert found is not None and found.hertz == hertz
    assert found.level_dbfs == pytest.approx(-41.6, abs=1.5)


@pytest.mark.parametrize("off", [-0.2, 0.2])
def test_the_mains_are_never_quite_at_their_frequency(off):
    found = hum(mains(50 + off, 1.5, 16_000) + noise(1.5, -60), 16_000)
    assert found is not None and found.hertz == 50 and found.level_dbfs > -44


@pytest.mark.parametrize("seed", range(5))
def test_noise_does_not_hum(seed):
    assert hum(noise(1.5, -50, seed=seed), 16_000) is None
    assert hum(pink_noise(1.5, 0.02, seed), 16_000) is None


@pytest.mark.slow
@pytest.mark.parametrize("voice", ["flite:slt", "flite:rms", "espeak:en-us"])
def test_a_voice_does_not_hum(voice):
    speech = said("what time is it, and what will the weather be tomorrow", voice)
    found = hum(speech[:24_000], 16_000)
    assert found is None or found.level_dbfs < -55


def test_silence_does_not_hum_and_is_no_chirp():
    assert hum(silence(1.5), 16_000) is None and find_chirp(silence(1.6), 16_000) is None


@pytest.mark.parametrize("rate", RATES)
def test_a_chirp_is_found_to_the_sample_with_its_level(rate):
    found = find_chirp(played(rate, 0.317) + noise(1.6, -60, rate), rate)
    assert found is not None and found.at == pytest.approx(0.317 * rate, abs=1)
    assert found.level_dbfs == pytest.approx(-30, abs=1)


@pytest.mark.parametrize("seed", range(5))
def test_a_chirp_is_found_below_the_noise_of_the_room(seed):
    found = find_chirp(played(16_000, 0.4, -52) + noise(1.6, -40, seed=seed), 16_000)
    assert found is not None and found.at == pytest.approx(6_400, abs=8)


def test_a_chirp_is_found_behind_hum_and_over_a_voice():
    rate = 16_000
    speech = np.resize(said("what time is it, and what will the weather be tomorrow"), round(1.6 * rate)) // 8
    for other in (mains(50, 1.6, rate, -20), speech):
        found = find_chirp((played(rate, 0.4, -35) + other).astype(np.int16), rate)
        assert found is not None and found.at == pytest.approx(6_400, abs=8)


@pytest.mark.parametrize("lost", [-320, 7, 320])
def test_a_period_that_is_lost_or_doubled_between_the_two_hides_neither(lost):
    sound = played(16_000, 0.3)
    middle = round(0.67 * 16_000)
    torn = np.concatenate((sound[:middle], silence(max(0, lost) / 16_000), sound[middle + max(0, -lost) :]))
    found = find_chirp((torn + noise(len(torn) / 16_000)).astype(np.int16), 16_000)
    assert (
        found is not None and found.at == pytest.approx(4_800, abs=2) and found.level_dbfs == pytest.approx(-30, abs=1)
    )


def test_of_a_chirp_with_echoes_the_first_and_loudest_is_found():
    sound = sum(played(16_000, 0.3 + late, dbfs) for late, dbfs in ((0.0, -30), (0.011, -36), (0.05, -40)))
    found = find_chirp((sound + noise(1.6)).astype(np.int16), 16_000)
    assert found is not None and found.at == pytest.approx(4_800, abs=2)


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_chirp(seed):
    assert find_chirp(noise(1.6, -40, seed=seed), 16_000) is None
    assert find_chirp(pink_noise(1.6, 0.05, seed), 16_000) is None


@pytest.mark.slow
@pytest.mark.parametrize("voice", ["flite:slt", "flite:rms", "espeak:en-us"])
def test_a_voice_is_no_chirp(voice):
    speech = said("what time is it, and what will the weather be tomorrow", voice)
    for start in range(0, len(speech) - 25_600, 4_000):
        assert find_chirp(speech[start : start + 25_600], 16_000) is None


def test_neither_hum_nor_a_tone_is_a_chirp():
    for other in (mains(50, 1.6, 16_000, -10), tone(1000, 1.6, 16_000), tone(3000, 1.6, 16_000, 0.9)):
        assert find_chirp(other, 16_000) is None


def test_what_is_shorter_than_a_chirp_holds_none():
    assert find_chirp(silence(measure.CHIRP_S), 16_000) is None
