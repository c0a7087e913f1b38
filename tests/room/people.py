"""People who talk: many synthetic voices, the wake words, sentences, and all at once. int16 or float32, mono, 16 kHz."""

import functools

import numpy as np

from device.demo.voices import resample, say
from tests.fakes import trimmed
from tests.room.sounds import RATE, at, count

WORDS = {"alexa": "alexa", "hey_jarvis": "hey jarvis", "hey_mycroft": "hey my croft", "hey_rhasspy": "hey rhasspy"}
"""How to write each built-in word so that voices say it right."""
VOICES = (
    *("flite:slt", "flite:rms", "flite:awb", "flite:kal", "flite:kal16", "flite:slt*1.12", "flite:rms*0.9"),
    *("espeak:en-us", "espeak:en-gb", "espeak:en-gb-scotland", "espeak:en-gb-x-rp+m3", "espeak:en-us+f3"),
    *("espeak:en-029+m7", "espeak:en-gb-x-gbclan+f4", "espeak:en-us+f2*1.1"),
)
"""As `say` takes them; after a star, by how much higher and faster."""
QUESTIONS = ("what time is it", "turn on the lights in the kitchen", "how is the weather tomorrow", "play some jazz")
SENTENCES = (
    *("the quick brown fox jumps over the lazy dog", "have you seen the jar of honey on the kitchen table"),
    *("hey there have you seen my service manual", "she sells sea shells on the shore near the harbour"),
    *("we could take the train at half past seven", "alexander went to brussels with his elder sister"),
    *("no i have never been to norway in the winter", "hey charlie did you feed the rabbits"),
    *("the recipe wants two eggs a pinch of salt and flour", "my crop of tomatoes was small this year"),
    *("turn left after the church then follow the river", "a lecture about electric cars and their batteries"),
    *("hey travis pass me the screwdriver please", "they say it will rain again on thursday"),
    *("it was nothing but a raspy old record", "i would like to speak to the manager"),
    *("all of us laughed until the neighbours knocked", "the service is slow but the soup is very good"),
    *("hey my coffee is getting cold", "three hundred and forty five divided by fifteen"),
)
"""Some of them are nearly a wake word."""


@functools.cache
def spoken(text: str, voice: str) -> np.ndarray:
    """`text` from one of VOICES, without the silence around it; int16, about 3.5 s at most."""
    name, _, higher = voice.partition("*")
    sound = say(text, name)
    if higher:
        sound = resample(sound, round(RATE * float(higher)), RATE)
    return trimmed(sound)


def sentence(rng: np.random.Generator) -> np.ndarray:
    """One of SENTENCES from one of VOICES: float32, full scale is 1, RMS 0.1."""
    number = int(rng.integers(len(SENTENCES)))
    return at(-20, spoken(SENTENCES[number], VOICES[(number + 3 * int(rng.integers(5))) % len(VOICES)]))


def babble(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Six people who all talk: float32, full scale is 1, RMS 0.1."""
    length = count(seconds)
    people = np.zeros(length, np.float32)
    for _ in range(6):
        one = np.zeros(0, np.float32)
        while len(one) < length + RATE:
            one = np.concatenate((one, sentence(rng)))
        people += one[rng.integers(RATE) :][:length]
    return at(-20, people)
