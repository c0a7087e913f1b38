"""Which board, and the settings file. Runs in the environment of the release."""

from collections.abc import Callable
from pathlib import Path

from device import config
from device.boards import Board
from device.errors import ConfigError, UsageError
from device.install import detect, settings
from device.install.choice import chosen_board
from device.install.places import Places
from device.install.system import Say, unsettle, write
from device.settings import toml

NOWHERE = Path("/nonexistent")
"""The /proc and /sys of a machine that is not here."""


def configure(places: Places, named: str | None, agent: str | None, elsewhere: bool, say: Say) -> None:
    """Bring it all up to the board and the release; what the owner wrote is kept.

    Raises:
        UsageError: there is no such board or agent, or the settings cannot be used.
        OSError: the disk is full, or may not be written.
    """
    board, _ = chosen_board(places, named, elsewhere)
    changed = write(places.board, f"{board.name}\n".encode(), 0o644)
    if not places.settings.exists():
        text = settings.document(_chosen(board, agent, places, elsewhere))
        _usable(lambda: config.parse(text.encode()))  # else the wrong file would be kept from now on
        changed = write(places.settings, text.encode(), 0o644) or changed
        say(f"Settings are in {places.settings}")
    else:
        chosen = _chosen(board, None, places, elsewhere)
        _tell_news(places, chosen, say)
        if changed:
            say(f"Your settings are kept. Those of this board would be:\n{_lines(chosen)}")
    _usable(lambda: config.load(places.settings))
    if changed:
        unsettle(places)


def _chosen(board: Board, agent: str | None, places: Places, elsewhere: bool) -> dict[str, dict[str, object]]:
    """What is to be set, by section and name."""
    # On another machine only a board with a sound card of its own says what that will be called.
    sound = detect.sound(board, NOWHERE if elsewhere else places.root)
    name = "USB" if board.name == "usb" else "default"
    chosen = board.settings(sound.microphone, sound.speaker, sound.channels) if sound else board.settings(name, name, 1)
    return {**chosen, "agent": {"protocol": agent}} if agent else chosen


def _lines(chosen: dict[str, dict[str, object]]) -> str:
    return "\n".join(
        line
        for section, values in chosen.items()
        for line in (f"  [{section}]", *(f"  {name} = {toml(value)}" for name, value in values.items()))
    )


def _usable(read: Callable[[], object]) -> None:
    try:
        read()
    except ConfigError as error:
        wrong = "".join(f"\n  - {problem}" for problem in error.problems)
        raise UsageError(
            f"The settings cannot be used by this release:{wrong}\nMend them and run this again."
        ) from None


def _tell_news(places: Places, chosen: dict[str, dict[str, object]], say: Say) -> None:
    news = list(settings.news(places.settings.read_text(errors="replace"), chosen))
    if news:
        say(f"New settings, which {places.settings} does not mention; they have their defaults. Add those without a #:")
        for line in news:
            say(f"  {line}")
