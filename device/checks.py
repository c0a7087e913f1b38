"""What single settings must be, beyond type and limits. Each check yields predicates of a sentence: "is empty"."""

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from device import night
from device.settings import did_you_mean, show

if TYPE_CHECKING:
    from device.config import Microphone, Panel, Wake

AGENTS = ("local", "datagrid", "atoms", "workbuddy", "savants", "openai")
BUILT_IN_WORDS = ("alexa", "hey_jarvis", "hey_mycroft", "hey_rhasspy")
STOP = "stop"


def word_name(word: str) -> str:
    """What events and `wake.thresholds` call a wake word: a built-in name, or a model's file name without `.onnx`."""
    return Path(word).stem if word.endswith(".onnx") else word


def public_url(url: str) -> str:
    """The URL as it may be logged: without user info, query and fragment, which may hold secrets."""
    return re.sub(r"//[^/]*@", "//", re.split(r"[?#]", url)[0])


def not_empty(text: str) -> Iterator[str]:
    if not text.strip():
        yield "is empty; leave it out for the default."


def absolute(path: str) -> Iterator[str]:
    # Not shown: somebody may have put the key itself here.
    if path and not (path.startswith("/") and path.isprintable()):
        yield "must be the absolute path of a file that holds the API key, never the key itself."


def directory(path: str) -> Iterator[str]:
    if not (path.startswith("/") and path.isprintable()):
        yield "must be the absolute path of a directory."


def spi_address(address: str) -> Iterator[str]:
    if not re.fullmatch(r"[0-9]{1,2}\.[0-9]", address):
        yield f'is {show(address)}; it must be the numbers of a bus and a chip select, such as "0.0".'


def hours(text: str) -> Iterator[str]:
    try:
        night.hours(text)
    except ValueError as error:
        yield f"is {show(text)}, but {error}"


WAYS_IN = ("token", "handoff", "query", "header", "call")


def access(way: str) -> Iterator[str]:
    # Not shown: somebody may have put the key itself here.
    if way and way not in WAYS_IN:
        yield "is no way in that any protocol has; the README lists them. Never put the key itself here."


def wake_words(words: tuple[str, ...]) -> Iterator[str]:
    if not words:
        yield f"is empty; it must name at least one of {', '.join(BUILT_IN_WORDS)}, or the path of an .onnx file."
    yield from _known(words, "wake", BUILT_IN_WORDS)


def stop_words(words: tuple[str, ...]) -> Iterator[str]:
    """There may be none."""
    yield from _known(words, "stop", (STOP,))


def _known(words: tuple[str, ...], kind: str, built_in: tuple[str, ...]) -> Iterator[str]:
    for word in words:
        if word.endswith(".onnx"):
            if not _is_file(word):
                yield f"names {show(word)}, but there is no such file, or it may not be read.{_from_here(word)}"
        elif word not in built_in:
            is_are = "are" if len(built_in) > 1 else "is"
            known = f" Built in {is_are} {', '.join(built_in)}; a word of your own is a path ending in .onnx."
            yield f"names {show(word)}, which is not a {kind} word.{did_you_mean(word, built_in) or known}"
    names = [word_name(word) for word in words]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield f"names {show(name)} twice."


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:
        return False


def _from_here(path: str) -> str:
    return "" if path.startswith("/") else f" It was looked for from {Path.cwd()}."


def url(url: str) -> Iterator[str]:
    """The URL is never shown: it may hold a password or a token."""
    if not url:
        return
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        yield "is not a URL: its host or port is wrong."
        return
    if not url.isprintable() or " " in url:
        yield "holds a space or a control character."
    elif parts.scheme not in ("http", "https", "ws", "wss") or not host:
        yield "must be a URL with http, https, ws or wss and a host, such as wss://voice.example.com."
    elif "@" in parts.netloc:
        yield "holds a user name or password; secrets do not belong in this file. Use the API key."
    elif parts.scheme in ("http", "ws") and not is_loopback(host):
        yield (
            f"is not encrypted: {parts.scheme} would send voice and key in the clear. TLS is needed for any host but "
            f"this machine: use {parts.scheme.replace('ws', 'wss').replace('http', 'https')}."
        )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# Several settings of a section together: these yield whole sentences.


def channel_exists(microphone: "Microphone") -> Iterator[str]:
    if microphone.channel != "mix" and microphone.channel >= microphone.channels:
        yield (
            f"microphone.channel is {microphone.channel}, but microphone.channels is {microphone.channels}: channels "
            "count from 0, so it must be less."
        )


def each_has_its_word(wake: "Wake") -> Iterator[str]:
    names = [word_name(word) for word in wake.words]
    for setting in ("thresholds", "patiences"):
        for name in getattr(wake, setting):
            if name not in names:
                listed = did_you_mean(name, names) or f" Those are {', '.join(names)}."
                yield f"wake.{setting} has {show(name)}, which is not among wake.words.{listed}"
    for name in map(word_name, wake.stop_words):
        if name in names:
            yield f"wake.stop_words has {show(name)}, which is among wake.words: rename one of the files."


SPI_PINS = {"0": (7, 8, 9, 10, 11), "1": (19, 20, 21)}


def pins_differ(panel: "Panel") -> Iterator[str]:
    used: list[tuple[str, object]] = [("button", panel.button)] if panel.button != "none" else []
    if panel.lights == "apa102":
        used += [("spi", pin) for pin in SPI_PINS.get(panel.spi.split(".")[0], ())]
    elif panel.lights != "none":
        used += [(panel.lights, pin) for pin in getattr(panel, panel.lights)]
    owners: dict[object, str] = {}
    for owner, pin in used:
        if pin in owners:
            yield f"panel.{owner} uses pin {pin}, but panel.{owners[pin]} uses it already: pins in use must differ."
        owners.setdefault(pin, owner)
