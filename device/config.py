"""The settings, read once at start from /etc/earshot/earshot.toml or the file that `--config` names."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tomli

from device import checks
from device.errors import ConfigError
from device.settings import allowed, did_you_mean, looks_secret, read, rule_of, show, toml

DEFAULT_PATH = Path("/etc/earshot/earshot.toml")

_DEVICE = {"about": "ALSA PCM name, or a part of a name that `earshot devices` prints", "check": checks.not_empty}
_SCORE = {"low": 0.0, "high": 1.0, "above_low": True}
_PATIENCE = {"low": 1, "high": 10}
_PIN = {"low": 0, "high": 27}
_RATE = {"about": "hertz that is tried first; 0: what needs no conversion here", "low": 0, "high": 192_000}


@dataclass(frozen=True, slots=True)
class Microphone:
    """Where sound comes in."""

    device: str = field(default="default", metadata=_DEVICE)
    channels: int = field(default=1, metadata={"about": "channels to open", "low": 1, "high": 8})
    channel: int | Literal["mix"] = field(default=0, metadata={"about": "which of them to hear", "low": 0, "high": 7})
    rate: int = field(default=0, metadata=_RATE)
    preroll_s: float = field(
        default=0.5, metadata={"about": "seconds kept from before the detection", "low": 0.0, "high": 2.0}
    )
    echo_cancellation: bool = field(
        default=True,
        metadata={"about": "whether our own sound is taken out of what is heard; false where the hardware does that"},
    )
    noise_suppression: bool = field(
        default=True, metadata={"about": "whether steady noise is taken out with it; not without echo_cancellation"}
    )
    gain_control: bool = field(
        default=False, metadata={"about": "whether soft voices are made louder; not without echo_cancellation"}
    )


@dataclass(frozen=True, slots=True)
class Speaker:
    """Where sound goes out."""

    device: str = field(default="default", metadata=_DEVICE)
    rate: int = field(default=0, metadata=_RATE)
    volume: int = field(default=60, metadata={"about": "percent", "low": 0, "high": 100})
    jitter_ms: int = field(
        default=160,
        metadata={
            "about": "milliseconds of audio held before the first reply plays; then it adapts, 40 to 300",
            "low": 20,
            "high": 500,
        },
    )
    level: bool = field(default=True, metadata={"about": "whether loud and soft voices are played equally loud"})
    louder_in_noise: bool = field(default=False, metadata={"about": "whether it speaks up where it is loud"})
    chimes: bool = field(
        default=True, metadata={"about": "whether it chimes; why there is no session it says all the same"}
    )


@dataclass(frozen=True, slots=True)
class Wake:
    """The wake words. `checks.word_name` gives the name that goes with each."""

    words: tuple[str, ...] = field(
        default=("hey_jarvis",),
        metadata={
            "about": f"any of {', '.join(checks.BUILT_IN_WORDS)}, and paths of .onnx files",
            "check": checks.wake_words,
        },
    )
    threshold: float = field(
        default=0.5, metadata={"about": "score at which a wake word or stop word counts as heard", **_SCORE}
    )
    thresholds: dict[str, float] = field(
        default_factory=dict, metadata={"about": "the same by word (a file: its name without .onnx)", **_SCORE}
    )
    playing_threshold: float = field(
        default=0.2, metadata={"about": "the same for all wake words while the speaker plays", **_SCORE}
    )
    patience: int = field(
        default=1, metadata={"about": "steps of 80 ms in a row that must reach the threshold", **_PATIENCE}
    )
    patiences: dict[str, int] = field(default_factory=dict, metadata={"about": "the same by word", **_PATIENCE})
    refractory_s: float = field(
        default=2.0, metadata={"about": "seconds before it counts again", "low": 0.0, "high": 30.0}
    )
    min_level_dbfs: float = field(
        default=-100.0,
        metadata={"about": "what is softer does not count: dB below full scale", "low": -100.0, "high": 0.0},
    )
    confirm_speech: bool = field(default=False, metadata={"about": "whether the speech detector must agree"})
    stop_words: tuple[str, ...] = field(
        default=("stop",),
        metadata={
            "about": 'what ends a reply without an agent: "stop", and paths of .onnx files; [] for none',
            "check": checks.stop_words,
        },
    )
    voices: str = field(
        default="/var/lib/earshot/voices",
        metadata={"about": "directory of the voices that `earshot wake --enrol` made", "check": checks.directory},
    )
    always_on: bool = field(default=False, metadata={"about": "whether the network runs in silence too"})

    def threshold_by_word(self) -> dict[str, float]:
        """The threshold of each word, by its name."""
        return {name: self.thresholds.get(name, self.threshold) for name in map(checks.word_name, self.words)}


@dataclass(frozen=True, slots=True)
class Agent:
    """Who answers. The API key is no setting: see `session.credentials`."""

    protocol: str = field(
        default="local",
        metadata={
            "about": "the agent's protocol; local is the agent on this machine",
            "choices": checks.AGENTS,
        },
    )
    url: str = field(
        default="", metadata={"about": "host and scheme suffice; empty: the vendor's", "check": checks.url}
    )
    agent_id: str = field(default="", metadata={"about": "the vendor's name of the agent"})
    api_key_file: str = field(
        default="", metadata={"about": "path of a file with the key, closed to others", "check": checks.absolute}
    )
    access: str = field(
        default="",
        metadata={"about": "the way in, where there are several; empty: the usual one", "check": checks.access},
    )
    options: dict[str, object] = field(default_factory=dict, metadata={"about": "start options of the protocol"})


@dataclass(frozen=True, slots=True)
class Conversation:
    """When a conversation ends, and who may interrupt."""

    idle_s: float = field(default=8.0, metadata={"about": "seconds of silence that end it", "low": 1.0, "high": 600.0})
    max_s: float = field(default=600.0, metadata={"about": "seconds it may last", "low": 10.0, "high": 86400.0})
    resume_s: float = field(
        default=0.0,
        metadata={
            "about": "seconds after it in which the next session goes on with it, where the agent can",
            "low": 0.0,
            "high": 86400.0,
        },
    )
    barge_in: str = field(
        default="speech",
        metadata={
            "about": "what interrupts a reply besides the button; speech: the wake word as well",
            "choices": ("speech", "wake_word", "button"),
        },
    )
    barge_in_ms: int = field(
        default=250,
        metadata={"about": "milliseconds that somebody talks over a reply to interrupt it", "low": 100, "high": 400},
    )
    half_duplex: bool = field(default=False, metadata={"about": "whether the microphone is closed while it speaks"})


@dataclass(frozen=True, slots=True)
class Panel:
    """Button and lights, by BCM pin."""

    button: int | Literal["none"] = field(
        default=17, metadata={"about": "pin that the button connects to ground", **_PIN}
    )
    lights: str = field(
        default="leds",
        metadata={
            "about": "three lamps, one of three colours, or a row of APA102",
            "choices": ("leds", "rgb", "apa102", "none"),
        },
    )
    leds: tuple[int, int, int] = field(
        default=(5, 6, 13), metadata={"about": "pins: listening, speaking, tool", **_PIN}
    )
    rgb: tuple[int, int, int] = field(default=(5, 6, 13), metadata={"about": "pins: red, green, blue", **_PIN})
    apa102: int = field(default=3, metadata={"about": "how many lamps there are in the row", "low": 1, "high": 64})
    spi: str = field(default="0.0", metadata={"about": "their SPI bus: bus.chip-select", "check": checks.spi_address})


@dataclass(frozen=True, slots=True)
class Night:
    """When and how the speaker is softer and darker."""

    hours: str = field(
        default="", metadata={"about": 'local time, as "22:00-06:30"; empty: never', "check": checks.hours}
    )
    volume: int = field(default=50, metadata={"about": "percent of the volume then", "low": 0, "high": 100})
    lights: int = field(default=20, metadata={"about": "percent of the brightness then", "low": 0, "high": 100})


@dataclass(frozen=True, slots=True)
class Privacy:
    """What is kept."""

    transcripts: bool = field(default=False, metadata={"about": "whether what was said goes to the event log"})


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that the owner of the box can set. Read it with `load`."""

    microphone: Microphone = field(default_factory=Microphone)
    speaker: Speaker = field(default_factory=Speaker)
    wake: Wake = field(default_factory=Wake)
    agent: Agent = field(default_factory=Agent)
    conversation: Conversation = field(default_factory=Conversation)
    panel: Panel = field(default_factory=Panel)
    night: Night = field(default_factory=Night)
    privacy: Privacy = field(default_factory=Privacy)


SECTIONS: dict[str, type[Any]] = {section.name: section.type for section in dataclasses.fields(Config)}  # type: ignore[misc]


# Checks over several settings of a section, made only when each of these settings is good by itself.
_TOGETHER: dict[str, tuple[set[str], Callable[[Any], Iterator[str]]]] = {
    "microphone": ({"channel", "channels"}, checks.channel_exists),
    "wake": ({"words", "stop_words", "thresholds", "patiences"}, checks.each_has_its_word),
    "panel": ({"button", "lights", "leds", "rgb", "spi"}, checks.pins_differ),
}


def load(path: Path | None) -> Config:
    """The configuration in the file; without a path, /etc/earshot/earshot.toml if there is one, else the defaults.

    Raises:
        ConfigError: with every mistake at once.
    """
    source = path or DEFAULT_PATH
    try:
        return parse(source.read_bytes())
    except FileNotFoundError:
        if path is None:
            return Config()
        raise ConfigError(f"{source}: there is no such file.") from None
    except ConfigError as error:
        raise ConfigError(*(f"{source}: {problem}" for problem in error.problems)) from None
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read: {error.strerror}.") from None


def parse(data: bytes) -> Config:
    """The configuration that a TOML document says.

    Raises:
        ConfigError: with every mistake at once; its sentences do not name the file.
    """
    problems: list[str] = []
    sections: dict[str, Any] = {}
    for name, table in _tables(data).items():
        if name not in SECTIONS:
            problems.append(_unknown_section(name, table))
        elif not isinstance(table, dict):
            problems.append(f"{name} must be a section: write [{name}] on a line of its own and its settings below.")
        else:
            sections[name], bad, found = read(SECTIONS[name], name, table)
            keys, check = _TOGETHER.get(name, (set(), None))
            problems += found if check is None or bad & keys else [*found, *check(sections[name])]
    if problems:
        raise ConfigError(*problems)
    return Config(**sections)


def _tables(data: bytes) -> dict[str, Any]:
    try:
        return tomli.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 text: see line {data[: error.start].count(10) + 1}.") from None
    except tomli.TOMLDecodeError as error:
        raise ConfigError(f"is not TOML: {error}.") from None
    except (ValueError, RecursionError):  # from Python itself
        raise ConfigError("is not TOML: a number is too long, or tables are nested too deeply.") from None


def _unknown_section(name: str, table: object) -> str:
    if isinstance(table, dict):
        known = f" Known are {', '.join(SECTIONS)}."
        return f"there is no section {show(name)}.{did_you_mean(name, SECTIONS) or known}"
    homes = [home for home, section in SECTIONS.items() if name in section.__slots__]
    where = f" It belongs under [{'] or ['.join(homes)}]." if homes else ""
    return f"{show(name)} stands outside any section.{where}"


def dump(config: Config, key_source: str) -> str:
    """What is in force, as TOML with comments and without secrets. `key_source`: where the API key comes from."""
    lines = ["# What is in force."]
    for name, kind in SECTIONS.items():
        section = getattr(config, name)
        lines += ["", f"[{name}]"]
        if name == "agent":
            lines.append("# API key: " + "".join(c if c.isprintable() else "?" for c in key_source))
        for one in dataclasses.fields(kind):
            rule = rule_of(one)
            limits = f": {allowed(one.type, rule)}" if rule.choices or rule.low is not None else ""
            value = getattr(section, one.name)
            value = _public(value) if name == "agent" else value
            lines += [f"# {rule.about}{limits}", f"{one.name} = {toml(value)}"]
    return "\n".join(lines) + "\n"


def _public(value: object) -> object:
    """The value without what may be a secret."""
    if isinstance(value, str):
        return checks.public_url(value) if "://" in value else value
    if isinstance(value, Mapping):
        return {key: "***" if looks_secret(key) else _public(item) for key, item in value.items()}
    return [_public(item) for item in value] if isinstance(value, list | tuple) else value
