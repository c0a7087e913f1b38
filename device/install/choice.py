"""Which board it is: what the owner said, now or before, else what is plugged in."""

from device.boards import BOARDS, Board
from device.errors import UsageError
from device.install import detect
from device.install.places import Places
from device.settings import did_you_mean


def chosen_board(places: Places, named: str | None, elsewhere: bool) -> tuple[Board, str]:
    """The board, and a sentence on how it was found. `elsewhere`: nothing of that machine is plugged in here.

    Raises:
        UsageError: there is none of that name, or what is plugged in does not tell.
    """
    if named:
        if named not in BOARDS:
            raise UsageError(
                f"There is no board {named}.{did_you_mean(named, BOARDS)} ./install.sh --list-boards shows all."
            )
        return BOARDS[named], f"{BOARDS[named].title}, as you said"
    if before := kept_board(places):
        return before, f"{before.title}, as before ({places.board})"
    if elsewhere:
        raise UsageError(
            "Name the board with --board: what is plugged into that machine cannot be seen from here. "
            "--board usb is for any speakerphone; ./install.sh --list-boards shows all."
        )
    found, why = detect.board(places.root)
    if found is None:
        raise UsageError(why)
    return found, f"{found.title}: {why}"


def kept_board(places: Places) -> Board | None:
    """The board that was chosen before, if there is one of that name."""
    try:
        return BOARDS.get(places.board.read_text(errors="replace").strip())
    except OSError:
        return None
