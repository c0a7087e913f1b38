"""`earshot wake --enrol NAME`: somebody says the wake word a few times, and from then on it counts in that voice only.

The sound stays in memory, and is gone when the command ends.
"""

import os
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from device.audio import FRAME_S, Chunks
from device.config import Config, Microphone
from device.errors import HardwareError, UsageError
from device.hearing.microphone import Converter
from device.hearing.wake.detector import word_paths
from device.hearing.wake.engine import STEP_S, STEP_SAMPLES, WakeEngine
from device.hearing.wake.files import frames
from device.hearing.wake.learning import FEWEST, SAID, Learned, is_installed, learn, spoken, strangers
from device.hearing.wake.verifier import Voice, checksum, read, write
from device.soundcard import SoundCards, Stream

SAMPLES = 5
_TRIES = 15
_TRY_STEPS = round(6 / STEP_S)
_TAIL_STEPS = round(0.8 / STEP_S)
"""What follows a word: its last steps, and a moment of the room, whose noise is needed."""
_LONGEST_S = 30.0
"""What is used of a recording."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


def enrol(
    name: str,
    word: str | None,
    files: Sequence[Path],
    settings: Config,
    say: Callable[[str, str, Path], np.ndarray],
) -> Iterator[str]:
    """Lines for the person who enrols as `name` for `word` (None: the first of the wake words); then the voice is kept.

    The samples are the recordings in `files` (16 bit WAV, first channel), or else are made with the microphone. To tell this
    voice from others, `say` gives a text (1st) in another voice (2nd) as int16 mono at 16 kHz; what it keeps, it keeps in
    the directory (3rd). It raises EarshotError where it does not have that voice.

    Raises:
        UsageError: the name, the word or a recording cannot be used, or the samples differ too much.
        HardwareError: the microphone, scikit-learn or other voices are missing, or the voice cannot be kept.
    """
    paths = word_paths(settings.wake.words)
    word = word or next(iter(paths))
    if word not in paths:
        raise UsageError(f"{word!r} is not among wake.words: those are {', '.join(paths)}.")
    if 0 < len(files) < FEWEST:
        raise UsageError(
            f"A voice is learned from {FEWEST} recordings or more ({SAMPLES} are better), not from {len(files)}."
        )
    path = _place(name, word, Path(settings.wake.voices))
    is_installed()
    engine = WakeEngine({word: paths[word]})
    with TemporaryDirectory() as kept:
        others = strangers(word, lambda text, voice: say(text, voice, Path(kept)))
        first = next(others)  # where there is none, nobody has to speak
        samples = _recorded(engine, word, files) if files else (yield from _asked(engine, word, settings.microphone))
        yield "Learning to tell it from other voices. That takes a minute or two on a Raspberry Pi."
        learned = learn(engine, word, samples, [first, *others])
    yield _told(learned)
    write(path, Voice(word, checksum(paths[word]), learned.weights, learned.bias))
    yield f"Kept in {path}; remove the file to undo it."
    yield f"From its next start on, the speaker hears {word} from those who are enrolled for it only."


def _place(name: str, word: str, directory: Path) -> Path:
    """Where the voice will be kept. Asked before anybody has to speak."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name to enrol: 1 to 32 letters, digits, - and _ are, a letter or digit first."
        )
    path = directory / f"{name}.npz"
    try:
        _make(directory)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(13, os.strerror(13))
        taken = read(path).word if path.exists() else word
    except HardwareError:
        return path  # it is damaged: this one replaces it
    except OSError as error:
        raise HardwareError(
            f"Voices cannot be kept in {directory}: {error.strerror}. Set wake.voices to a directory of whoever runs the "
            "speaker, and enrol as that user."
        ) from None
    if taken != word:
        raise UsageError(f"{name} is enrolled for {taken} already: take another name for {word}, or remove {path}.")
    return path


def _make(directory: Path) -> None:
    """Voices are nobody else's business; the owner is that of the directory above: root enrols, the speaker reads."""
    if directory.is_dir():
        return
    _make(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        above = directory.parent.stat()
        os.chown(directory, above.st_uid, above.st_gid)


def _recorded(engine: WakeEngine, word: str, files: Sequence[Path]) -> list[np.ndarray]:
    samples, unheard = [], []
    for file in files:
        sound = b"".join(islice(frames(file), round(_LONGEST_S / FRAME_S)))
        sample = np.frombuffer(sound, np.int16)
        padded = np.pad(sample, (0, _TAIL_STEPS * STEP_SAMPLES))  # a word is first seen up to 0.4 s after its end
        whole = padded[: len(padded) // STEP_SAMPLES * STEP_SAMPLES].reshape(-1, STEP_SAMPLES)
        engine.reset()
        score = max(engine.score(step)[word] for step in whole)
        samples.append(sample)
        if score < SAID:
            unheard.append(f"{file} (score {score:.2f})")
    if unheard:
        raise UsageError(f"{word} is not heard in {', '.join(unheard)}: {SAID} is needed.")
    return samples


def _asked(engine: WakeEngine, word: str, source: Microphone) -> Generator[str, None, list[np.ndarray]]:
    yield "Nobody else may use the microphone now: stop the speaker first, if it runs."
    samples: list[np.ndarray] = []
    with SoundCards() as cards, closing(cards.open_input(source.device, source.channels, source.rate)) as stream:
        yield f'You will be asked {SAMPLES} times to say "{spoken(word)}", the way you always do, from where you often are.'
        steps = _steps(stream, Converter(stream.rate, stream.channels, source.channel))
        for _ in range(_TRIES):
            yield f'{len(samples) + 1} of {SAMPLES}: say "{spoken(word)}" now.'
            sample, score = _take(engine, word, steps)
            if score < SAID:
                yield f"That was not clear (score {score:.2f}, {SAID} is needed). Once more:"
                continue
            samples.append(sample)
            if len(samples) == SAMPLES:
                return samples
    raise HardwareError(
        f"{word} was heard {len(samples)} times in {_TRIES} tries: come nearer, make the room quieter, "
        "or see with earshot check whether the microphone hears well."
    )


def _steps(stream: Stream, converter: Converter) -> Iterator[np.ndarray]:
    """What the microphone hears, without end: int16, shape (1280,)."""
    chunks = Chunks(STEP_SAMPLES)
    while True:
        for frame in converter.frames(stream.read()):
            if (step := chunks.add(frame)) is not None:
                yield step.copy()


def _take(engine: WakeEngine, word: str, steps: Iterator[np.ndarray]) -> tuple[np.ndarray, float]:
    """What is heard until shortly after the word, or until the time is over; and its highest score."""
    engine.reset()
    heard: list[np.ndarray] = []
    best, left = 0.0, _TRY_STEPS
    while left:
        step = next(steps)
        heard.append(step)
        score = engine.score(step)[word]
        left = _TAIL_STEPS if best < SAID <= score else left - 1
        best = max(best, score)
    return np.concatenate(heard), best


def _told(learned: Learned) -> str:
    """How well it does, or why it is of no use: UsageError."""
    if learned.samples_known * 2 < learned.samples:
        raise UsageError(
            f"Of {learned.samples} samples {learned.samples_known} were known by a check that was learned from the others: it "
            "would often not hear you. Enrol again, all samples in the same voice and from the same room."
        )
    return (
        f"A check that was learned without it knew {learned.samples_known} of your {learned.samples} samples, and took "
        f"{learned.others_known} of {learned.others} of other voices for yours."
    )
