"""What is plugged in: which board, and which sound card has microphone and speaker. Each answer comes with its reason.

Not for a mounted card: /proc and /sys below it are empty, or those of the machine that it is mounted on.
"""

import re
from pathlib import Path
from typing import NamedTuple

from device.boards import BOARDS, Board
from device.errors import UsageError

CHOOSE = "Name the board with --board; --list-boards shows them."
_VIRTUAL = ("Loopback", "Dummy")
"""Drivers of cards that are no hardware: taken only if there is nothing else."""


class Found(NamedTuple):
    """A board, or None, and a sentence that says why."""

    board: Board | None
    why: str


class Sound(NamedTuple):
    """ALSA PCM names of microphone and speaker, channels of capture, and a sentence that says why these."""

    microphone: str
    speaker: str
    channels: int
    why: str


class Card(NamedTuple):
    """A sound card. `capture` and `playback` are the numbers of its first PCMs, None where there is none."""

    number: int
    id: str
    driver: str
    usb: str
    """vendor:product; empty if it is not on USB."""
    capture: int | None
    playback: int | None
    channels: int | None
    """Channels of capture, where the kernel tells: on USB."""


def board(root: Path = Path("/")) -> Found:
    """The board of this machine, with the kinds `usb` and `other` for cards that are not known; None: nothing to hear with.

    Raises:
        UsageError: there are several boards, or it may be one of several: only the owner knows.
    """
    here = cards(root)
    signs = _signs(root, here)
    names = list(dict.fromkeys(one.name for one, _ in signs))
    if len(names) == 1:
        return Found(*signs[0])
    if names:
        seen = "; ".join(f"{one.name} ({why})" for one, why in signs)
        raise UsageError(f"There is more than one board: {seen}. {CHOOSE}")
    for card in here:
        if likely := [one.name for one in BOARDS.values() if card.id in one.cards and not one.usb]:
            raise UsageError(f"The sound card {card.id} may be that of {' or '.join(likely)}. {CHOOSE}")
    pair = _pair(here)
    if pair is None:
        return Found(None, f"No sound card here has microphone and speaker. Plug one in. {CHOOSE}")
    kind = BOARDS["usb" if pair[0].usb else "other"]
    return Found(kind, f"the sound card {pair[0].id}, which is that of no board known here")


def sound(one: Board, root: Path = Path("/")) -> Sound | None:
    """Microphone and speaker of the board; None if its card is not fixed and there is none here.

    A board whose overlay is not loaded yet has its card after the next boot, under the first of its ids.
    """
    here = cards(root)
    own = [card for card in here if _is_of(card, one) and card.capture is not None and card.playback is not None]
    if own:
        pair = own[0], own[0]
        why = f"the sound card {own[0].id} of this board"
    elif one.cards:
        name = f"hw:CARD={one.cards[0]},DEV=0"
        return Sound(name, name, one.channels or 1, f"the sound card {one.cards[0]}, which this board will have")
    elif found := _pair(here):
        pair = found
        why = " and ".join(dict.fromkeys(f"the sound card {card.id}" for card in pair))
    else:
        return None
    microphone, speaker = pair
    return Sound(
        f"hw:CARD={microphone.id},DEV={microphone.capture}",
        f"hw:CARD={speaker.id},DEV={speaker.playback}",
        one.channels or microphone.channels or _usual_channels(microphone),
        why,
    )


def model(root: Path = Path("/")) -> str:
    """Which computer this is, as "Raspberry Pi 5 Model B Rev 1.0"; empty if it does not say."""
    return _text(root / "proc/device-tree/model")


def cards(root: Path = Path("/")) -> list[Card]:
    """All sound cards with a PCM that is not HDMI: USB first, those that are no hardware last, else in their order."""
    asound = root / "proc/asound"
    listed = re.findall(r"^ *(\d+) \[(\S+) *\]: (\S+) - ", _text(asound / "cards"), re.MULTILINE)
    found = [_card(asound, int(number), name, driver) for number, name, driver in listed if "hdmi" not in driver]
    found = [card for card in found if card.capture is not None or card.playback is not None]
    return sorted(found, key=lambda card: (card.driver in _VIRTUAL, not card.usb, card.number))


def _signs(root: Path, here: list[Card]) -> list[tuple[Board, str]]:
    """The boards of which something is seen here that only they have, and what."""
    plugged = {
        f"{_text(path)}:{_text(path.with_name('idProduct'))}" for path in root.glob("sys/bus/usb/devices/*/idVendor")
    }
    product = _text(root / "proc/device-tree/hat/product")
    present = {card.id for card in here}
    signs = []
    for one in BOARDS.values():
        rivals = {name for other in BOARDS.values() if other is not one for name in other.cards}
        if seen := plugged.intersection(one.usb):
            signs.append((one, f"{min(seen)} on USB"))
        elif product in one.hats:
            signs.append((one, f"the EEPROM of its HAT says {product!r}"))
        elif not one.usb and (seen := present.intersection(one.cards) - rivals):  # any USB card may have any id
            signs.append((one, f"the sound card {min(seen)}"))
    return signs


def _is_of(card: Card, one: Board) -> bool:
    return card.usb in one.usb if one.usb else card.id in one.cards


def _pair(here: list[Card]) -> tuple[Card, Card] | None:
    """Cards to hear and to speak with: one that does both if there is one, as two clocks drift apart."""
    for some in ([card for card in here if card.driver not in _VIRTUAL], here):
        ears = [card for card in some if card.capture is not None]
        mouths = [card for card in some if card.playback is not None]
        if both := [card for card in ears if card in mouths]:
            return both[0], both[0]
        if ears and mouths:
            return ears[0], mouths[0]
    return None


def _usual_channels(card: Card) -> int:
    # I2S has two; Loopback takes as many as the other end has.
    return 1 if card.driver in _VIRTUAL else 2


def _card(asound: Path, number: int, name: str, driver: str) -> Card:
    capture: list[int] = []
    playback: list[int] = []
    for line in _text(asound / "pcm").splitlines():
        where = re.match(rf"{number:02}-(\d+): ", line)
        if where and "hdmi" not in line.lower():
            capture += [int(where[1])] if ": capture " in line else []
            playback += [int(where[1])] if ": playback " in line else []
    stream = _text(asound / f"card{number}/stream0").partition("Capture:")[2]
    channels = re.search(r"Channels: (\d+)", stream)
    return Card(
        number,
        name,
        driver,
        _text(asound / f"card{number}/usbid"),
        min(capture, default=None),
        min(playback, default=None),
        int(channels[1]) if channels else None,
    )


def _text(path: Path) -> str:
    """What the kernel says there, empty if nothing. The device tree ends its strings with a zero byte."""
    try:
        return path.read_text(errors="replace").strip("\0\n")
    except OSError:
        return ""
