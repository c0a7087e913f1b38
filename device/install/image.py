"""A card that speaks at its first start: puts Earshot into a copy of an image of Raspberry Pi OS.

    python3 -m device.install.image --image IN.img[.xz] --out OUT.img [OPTION...]

The image is made larger, its partitions are mounted, install.sh --root does there what it does on a Raspberry Pi (on another
architecture through qemu-user), and the files of the first start are added. Whatever happens, nothing stays mounted, and OUT
is there whole or not at all.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from device.errors import EarshotError, HardwareError, UsageError
from device.install import first_boot
from device.install.card import check_system, copy, mounted, widen
from device.install.image_options import Options, parse, usage
from device.replacing import replacing

SOURCE = Path(__file__).parent.parent.parent
ROOM = 1_500_000_000
"""Bytes by which the root file system grows: what install.sh asks for, and some to spare. The first start takes the rest."""
_TOOLS = {"e2fsck": "e2fsprogs", "resize2fs": "e2fsprogs", "losetup": "mount", "mount": "mount"}
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Install = Callable[[Path, Options], None]


def main(words: list[str]) -> int:
    """Make the image that the words ask for; returns the exit code."""
    if not words or {"--help", "-h"} & {*words}:
        print(usage())
        return 0
    for kind in _STOPS:
        signal.signal(kind, _stop)
    os.umask(0o022)
    try:
        options = parse(words)
        _check_machine()
        make(options)
    except KeyboardInterrupt:
        print("install.sh: Stopped. Nothing is left mounted, and there is no new image.", file=sys.stderr)
        return 130
    except EarshotError as error:
        print(*(f"install.sh: {line}" for line in str(error).splitlines()), sep="\n", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        where = error.filename or Path(options.out).absolute().parent
        print(f"install.sh: {where}: {error.strerror or error}. There is no new image.", file=sys.stderr)
        return 1
    print(
        f"{options.out} is ready: write it to a card as it is. The speaker says when it is ready, some minutes after power."
    )
    return 0


def make(options: Options, install: Install | None = None, room: int = ROOM) -> None:
    """Make options.out. `install` puts Earshot into the mounted system.

    Raises:
        UsageError: the image is not one of a Raspberry Pi OS that Earshot runs on.
        HardwareError: a tool failed, which is told with what it said.
        OSError: the disk is full, or may not be written.
    """
    with replacing(Path(options.out)) as fresh:
        print(f"Copying {options.image}", flush=True)
        fresh.touch(mode=0o600)  # it will hold the key, and the password of the Wi-Fi
        copy(Path(options.image), fresh)
        widen(fresh, room)
        with mounted(fresh) as system:
            check_system(system)
            (install or install_earshot)(system, options)
            first_boot.prepare(system, options)
        fresh.chmod(0o600 if options.wifi_password_file or options.key_file else 0o644)


def install_earshot(root: Path, options: Options) -> None:
    """install.sh into the system below `root`.

    Raises:
        UsageError: this machine cannot run programs of that system.
        HardwareError: it failed, and said why.
    """
    can_run(root)
    if options.settings:
        (root / "etc/earshot").mkdir(exist_ok=True)
        shutil.copyfile(options.settings, root / "etc/earshot/earshot.toml")
    command = [str(SOURCE / "install.sh"), "--root", str(root), "--yes"]
    for name, value in (("--board", options.board), ("--agent", options.agent), ("--offline", options.offline)):
        command += [name, value] if value else []
    command += ["--key-file", options.key_file] if options.key_file else ["--no-key"]
    # A group of its own, so that all of it can be stopped: what lives on would keep the card mounted.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        code = child.wait()
    finally:
        _end(child)
    if code:
        raise HardwareError("Earshot could not be put into the image; what is above says why. There is no new image.")


def can_run(root: Path) -> None:
    """Try whether this machine runs programs of the system below `root`.

    Raises:
        UsageError: it does not, and how it would.
    """
    try:
        subprocess.run(["chroot", root, "/bin/true"], check=True, capture_output=True, timeout=60)
    except subprocess.SubprocessError:
        raise UsageError(
            "This machine cannot run programs of a Raspberry Pi: sudo apt install qemu-user-static binfmt-support"
            " (on Debian 13: qemu-user-binfmt). In a container, mount binfmt_misc too. Then run this again."
        ) from None


def _end(child: "subprocess.Popen[bytes]") -> None:
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, kind)
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=15)


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise UsageError("Mounting an image needs an administrator's rights: sudo ./install.sh --image ...")
    missing = sorted({package for tool, package in _TOOLS.items() if not shutil.which(tool)})
    if missing:
        raise UsageError(f"Programs are missing: sudo apt install {' '.join(missing)}")


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    """Like Ctrl-C; what it sets off must not be stopped half-way."""
    for kind in _STOPS:
        signal.signal(kind, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
