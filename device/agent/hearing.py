"""The agent's ear: `Turns` finds where an utterance begins and ends, `Recogniser` says what it was."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.agent.grammar import Command, jsgf, vocabulary

RATE = 16_000
FRAME_S = 0.03
FRAME_BYTES = 960
START_FRAMES, START_SPEECH = 6, 4
END_FRAMES, END_SPEECH = 20, 2
LONGEST_FRAMES = 333
PRE_ROLL_FRAMES = 10
# What separates commands from foreign sentences, measured with seven synthetic voices (350 against 112 utterances): all
# three together keep 96 % of the former and 11 % of the latter. The scores count from the best-fitting sounds, per frame.
DOUBT_OVERALL, DOUBT_OF_A_WORD, LONGEST_LETTER_S = 43.0, 85.0, 0.17
# Shorter than any foreign sentence, longer than a cough.
SENTENCE_S = 0.8
# The end of the wake word is all that is left of it when the device detected it early.
PRONUNCIATIONS = {"jarvis": ("AA R V IH S", "R V IH S", "V IH S")}


@dataclass(frozen=True, slots=True)
class Utterance:
    """What was said in one go (s16le, 16 kHz) and for how much of it there was speech, in seconds."""

    pcm: bytes
    speech_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """What an utterance was taken for; the text is empty if nothing fits at all. The doubts are 0 for a perfect match."""

    text: str
    overall: float = 0.0
    """Doubt about the whole utterance."""
    worst: float = 0.0
    """Doubt about its worst word."""
    letter_s: float = 0.0
    """Seconds per letter of the word that is drawn out most: noise makes "stop" of a second's length."""

    @property
    def clear(self) -> bool:
        """Whether to act on it."""
        certain = self.overall <= DOUBT_OVERALL and self.worst <= DOUBT_OF_A_WORD
        return bool(self.text) and certain and self.letter_s <= LONGEST_LETTER_S


class Turns:
    """Cuts a stream into utterances. `is_speech` judges a frame of 30 ms."""

    def __init__(self, is_speech: Callable[[bytes], bool]) -> None:
        self._is_speech = is_speech
        self.reset()

    def reset(self) -> None:
        """Forget what was heard, as after a reply."""
        self._rest = b""
        self._judged: deque[bool] = deque(maxlen=END_FRAMES)
        self._before: deque[bytes] = deque(maxlen=PRE_ROLL_FRAMES)
        self._frames: list[bytes] = []
        self._speech = 0

    def hear(self, pcm: bytes) -> tuple[Utterance, bytes] | None:
        """Take any number of samples (s16le); an utterance that ended in them and what comes after it."""
        pcm = self._rest + pcm
        whole = len(pcm) // FRAME_BYTES * FRAME_BYTES
        for start in range(0, whole, FRAME_BYTES):
            if utterance := self._take(pcm[start : start + FRAME_BYTES]):
                self.reset()
                return utterance, pcm[start + FRAME_BYTES :]
        self._rest = pcm[whole:]
        return None

    def _take(self, frame: bytes) -> Utterance | None:
        speech = self._is_speech(frame)
        self._judged.append(speech)
        if not self._frames:
            self._before.append(frame)
            if sum(list(self._judged)[-START_FRAMES:]) >= START_SPEECH:
                self._frames = list(self._before)
                self._speech = START_SPEECH
            return None
        self._frames.append(frame)
        self._speech += speech
        silent = len(self._judged) == END_FRAMES and sum(self._judged) <= END_SPEECH
        if silent or len(self._frames) >= LONGEST_FRAMES:
            return Utterance(b"".join(self._frames), self._speech * FRAME_S)
        return None


def voice_detector() -> Callable[[bytes], bool]:
    """A new detector for one stream: it adapts to the noise it hears."""
    from pocketsphinx import Vad

    vad = Vad(mode=Vad.MEDIUM_STRICT, sample_rate=RATE, frame_length=FRAME_S)
    return lambda frame: bool(vad.is_speech(frame))


class Recogniser:
    """Tells which of the commands an utterance is. The model loads in the background."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self._commands = commands
        # A decoder is not safe to share, so it has a thread of its own and sessions queue for it.
        self.thread = ThreadPoolExecutor(1, "decoder")
        self._decoder = self.thread.submit(self._load)

    def close(self) -> None:
        """Take no more work."""
        self.thread.shutdown(wait=False, cancel_futures=True)

    def _load(self) -> Any:
        from pocketsphinx import Decoder, get_model_path

        # Wide beams and no lattice search: with the defaults a synthetic voice loses its last word.
        decoder = Decoder(
            samprate=RATE, lm=None, dict=None, loglevel="FATAL", bestpath=False, beam=1e-80, wbeam=1e-60, pbeam=1e-80
        )
        words = vocabulary(self._commands)
        spoken = pronunciations(Path(get_model_path("en-us/cmudict-en-us.dict")), words)
        for name, sounds in spoken.items():
            decoder.add_word(name, sounds, False)
        decoder.add_jsgf_string("commands", jsgf(self._commands))
        decoder.activate_search("commands")
        return decoder

    def recognise(self, utterance: Utterance) -> Heard:
        """Call it on `thread` only. Takes about a tenth of the utterance's length on a desktop machine."""
        decoder = self._decoder.result()
        decoder.start_utt()
        decoder.process_raw(utterance.pcm, full_utt=True)
        decoder.end_utt()
        best = decoder.hyp()
        if best is None or not best.hypstr:
            return Heard("")
        log = decoder.get_logmath().log
        parts = [(each.word, -log(each.ascore), each.end_frame - each.start_frame + 1) for each in decoder.seg()]
        # Silences, "<sil>", count for the whole: what the grammar cannot explain is often hidden in one.
        parts = [part for part in parts if part[0] != "(NULL)"]
        words = [part for part in parts if part[0][0].isalpha()]
        return Heard(
            best.hypstr,
            sum(doubt for _, doubt, _ in parts) / max(1, sum(frames for _, _, frames in parts)),
            max((doubt / frames for _, doubt, frames in words), default=0.0),
            max((frames / 100 / len(word) for word, _, frames in words), default=0.0),
        )


def pronunciations(dictionary: Path, words: set[str]) -> dict[str, str]:
    """The dictionary's entries for `words`, by name: "read", "read(2)". Only these are loaded: it has 135,000.

    Raises ValueError for words of a phrase that it does not have.
    """
    found = {}
    with dictionary.open(encoding="utf-8") as lines:
        for line in lines:
            name, _, sounds = line.strip().partition(" ")
            if name.partition("(")[0] in words:
                found[name] = sounds
    if missing := sorted(words - found.keys()):
        raise ValueError(f"No pronunciation is known of {', '.join(missing)}: use other words in the phrase.")
    for name, more in PRONUNCIATIONS.items():
        known = sum(each.partition("(")[0] == name for each in found)
        found |= {f"{name}({known + 1 + i})": sounds for i, sounds in enumerate(more)}
    return found
