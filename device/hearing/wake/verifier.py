"""Whether a wake word was said by somebody who is enrolled for it: openWakeWord's custom verifier, as a dot product.

`enrol` makes a file NAME.npz for a person. A file that cannot be used is told of and left out: a box that refuses to start, or
hears nobody, would be worse than one that hears everybody for a while.
"""

import hashlib
import logging
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from device.errors import HardwareError
from device.hearing.wake.engine import FEATURES
from device.replacing import replacing

log = logging.getLogger(__name__)

_LARGEST = 1 << 20
"""Bytes of a file: weights for 100 embeddings are 38 kB."""


class Voice(NamedTuple):
    """A logistic regression on the embeddings of `word`, with the scaling of its input folded in."""

    word: str
    model: str
    """SHA-256 of the word's model file, in hex: for another model the weights mean nothing."""
    weights: np.ndarray
    """float32, shape (frames * 96,), oldest embedding first."""
    bias: float

    def accepts(self, features: np.ndarray) -> bool:
        """Whether it is more likely than not this person. `features`: float32, shape (1, n, 96), n >= frames."""
        window = features[0, -(len(self.weights) // FEATURES) :].reshape(-1)
        return float(window @ self.weights) + self.bias >= 0


class Verifier:
    """The voices in `directory` that are enrolled for `words` (name -> path of its .onnx model). It never raises.

    `problems` are sentences about files that are left out; the log has them too.
    """

    def __init__(self, directory: Path, words: Mapping[str, Path]) -> None:
        self._voices: dict[str, dict[str, Voice]] = {}
        self.problems: list[str] = []
        try:
            for path in sorted(path for path in directory.iterdir() if path.suffix == ".npz"):
                self._take(path, words)
        except FileNotFoundError:
            pass  # nobody has enrolled yet
        except OSError as error:
            self.problems.append(f"wake.voices: {directory} cannot be read: {error.strerror}.")
        for word, voices in self._voices.items():
            log.info("= %s counts in the voice of %s only", word, ", ".join(voices))
        unguarded = [word for word in words if word not in self._voices]
        if self.problems and unguarded:
            self.problems.append(f"Until then everybody's {' and '.join(unguarded)} counts.")
        for problem in self.problems:
            log.warning("! %s", problem)

    def _take(self, path: Path, words: Mapping[str, Path]) -> None:
        again = f"Enrol again: earshot wake --enrol {path.stem}"
        try:
            voice = read(path)
            if voice.word not in words:
                self.problems.append(
                    f"{path} is for {voice.word}, which is not among wake.words. Remove it, or {again[0].lower()}{again[1:]}."
                )
            elif voice.model != checksum(words[voice.word]):
                self.problems.append(f"{path} was made for another model of {voice.word}. {again}.")
            else:
                self._voices.setdefault(voice.word, {})[path.stem] = voice
        except HardwareError as error:
            self.problems.append(f"{error} {again}.")

    def accepts(self, word: str, features: np.ndarray) -> bool:
        """Whether anybody who is enrolled for `word` said it; always, where nobody is.

        `features` are the last embeddings: float32, shape (1, n, 96), oldest first, n at least that of the word's model.
        """
        voices = self._voices.get(word)
        return voices is None or any(voice.accepts(features) for voice in voices.values())


def checksum(path: Path) -> str:
    """SHA-256 of the file, in hex; HardwareError where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise HardwareError(f"{path} cannot be read: {error.strerror}.") from None


def read(path: Path) -> Voice:
    """The voice in the file at `path`.

    Raises:
        HardwareError: it cannot be read, or is no such file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST)
    except OSError as error:
        raise HardwareError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        with np.load(BytesIO(data), allow_pickle=False) as arrays:
            voice = Voice(
                str(arrays["word"][()]), str(arrays["model"][()]), np.asarray(arrays["weights"]), float(arrays["bias"])
            )
    except Exception as error:  # what zipfile, zlib and numpy raise for damage has no common base class
        raise HardwareError(f"{path} is no enrolled voice, or damaged.") from error
    frames, rest = divmod(voice.weights.size, FEATURES)
    shaped = voice.weights.dtype == np.float32 and voice.weights.ndim == 1 and 1 <= frames <= 100 and not rest
    if not shaped or not np.isfinite([voice.bias, *voice.weights]).all():
        raise HardwareError(f"{path} is no enrolled voice, or damaged.")
    return voice


def write(path: Path, voice: Voice) -> None:
    """Keep `voice` at `path`, whole or not at all, readable by the owner of the directory alone.

    Raises:
        HardwareError: it cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        with replacing(path) as fresh, os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
            np.savez(file, word=voice.word, model=voice.model, weights=voice.weights, bias=np.float64(voice.bias))
            if os.geteuid() == 0:  # the speaker, which is to read it, may be somebody else
                home = path.parent.stat()
                os.fchown(file.fileno(), home.st_uid, home.st_gid)
    except OSError as error:
        raise HardwareError(f"{path} cannot be written: {error.strerror}.") from None
