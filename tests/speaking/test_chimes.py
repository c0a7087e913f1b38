"""The sounds the speaker makes by itself."""

import numpy as np
import pytest

from device.events import Chime
from device.speaking import chimes

RATES = (24_000, 44_100, 48_000)


@pytest.mark.parametrize("chime", Chime)
@pytest.mark.parametrize("rate", RATES)
def test_each_chime_is_as_long_as_it_says_and_not_too_loud(chime, rate):
    sound = chimes.render(chime, rate)
    assert sound.dtype == np.float32 and sound.ndim == 1
    assert len(sound) == pytest.approx(chimes.length_s(chime) * rate, abs=5)
    assert 0.1 < np.abs(sound).max() < 0.5
    assert chimes.length_s(chime) < 1


@pytest.mark.parametrize("chime", Chime)
def test_no_chime_clicks(chime):
    sound = chimes.render(chime, 48_000)
    assert abs(sound[0]) < 0.001 and np.all(sound[-2400:] == 0)
    assert np.abs(np.diff(sound)).max() < 0.1


@pytest.mark.parametrize("chime", Chime)
def test_a_chime_sounds_the_same_at_every_rate(chime):
    spectra = []
    for rate in RATES:
        sound = chimes.render(chime, rate)
        frequencies = np.fft.rfftfreq(len(sound), 1 / rate)
        spectra.append(frequencies[np.argmax(np.abs(np.fft.rfft(sound)))])
    assert max(spectra) - min(spectra) < 10


def test_no_two_chimes_are_alike():
    sounds = {chimes.render(chime, 24_000).tobytes() for chime in Chime}
    assert len(sounds) == len(Chime)
