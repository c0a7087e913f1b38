"""What of making a card needs root: a small image is made larger, mounted, filled. Run by tests/arm64/run, as root."""

import lzma
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device.errors import HardwareError
from device.install import card, image, image_options
from tests.install import images

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEJlYXIgd2l0aCBtZSwgSSBhbSBhIGtleSBmb3IgYSB0ZXN0 ada@home"


def traces() -> tuple[str, str]:
    """What would show that something was left behind."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if "/earshot-" in line]
    loops = subprocess.run(
        ["losetup", "--list", "--noheadings", "-O", "BACK-FILE"], capture_output=True, text=True
    ).stdout
    return "".join(mounts), "".join(line for line in loops.splitlines() if "out." in line)


@pytest.fixture
def options(tmp_path: Path) -> image_options.Options:
    has_fat = "\tvfat\n" in Path("/proc/filesystems").read_text()
    whole = images.image(tmp_path / "in.img", images.system(tmp_path / "tree"), fat=has_fat)
    packed = tmp_path / "in.img.xz"
    packed.write_bytes(lzma.compress(whole.read_bytes(), preset=0))
    for name, text in (("password", "open sesame\n"), ("id.pub", f"{KEY}\n")):
        (tmp_path / name).write_text(text)
    return image_options.Options(
        image=str(packed), out=str(tmp_path / "out.img"), hostname="kitchen", user="ada",
        ssh_key_file=str(tmp_path / "id.pub"), wifi_ssid="Home", wifi_country="DE",
        wifi_password_file=str(tmp_path / "password"),
    )  # fmt: skip


def test_what_was_put_into_the_image_is_on_the_card(options: image_options.Options) -> None:
    def install(root: Path, _: image_options.Options) -> None:
        assert os.statvfs(root).f_blocks * os.statvfs(root).f_frsize > 100 * images.MIB
        (root / "opt").mkdir()
        (root / "opt/earshot").write_bytes(os.urandom(90 * images.MIB))  # reaches the end of the image
        (root / "boot/firmware/config.txt").open("a").write("dtoverlay=earshot-panel\n")

    before = Path(options.image).read_bytes()
    image.make(options, install=install, room=128 * images.MIB)
    assert Path(options.image).read_bytes() == before
    assert traces() == ("", "")
    with card.mounted(Path(options.out)) as root:
        card.check_system(root)
        assert (root / "opt/earshot").stat().st_size == 90 * images.MIB
        assert (root / "etc/hostname").read_text() == "kitchen\n"
        profile = root / "etc/NetworkManager/system-connections/earshot.nmconnection"
        assert (profile.stat().st_mode & 0o777, profile.stat().st_uid) == (0o600, 0)
        assert (root / "home/pi/.ssh/authorized_keys").stat().st_uid == 1000
        firmware = root / "boot/firmware"
        assert (firmware / "userconf.txt").read_text() == "ada:*\n"
        assert "dtoverlay=earshot-panel" in (firmware / "config.txt").read_text()
        assert (firmware / "cmdline.txt").read_text().endswith(" cfg80211.ieee80211_regdom=DE\n")
    assert traces() == ("", "")


def test_a_card_that_gets_full_leaves_nothing_behind(options: image_options.Options) -> None:
    def fill(root: Path, _: image_options.Options) -> None:
        (root / "everything").write_bytes(bytes(64 * images.MIB))

    with pytest.raises(OSError, match="No space left"):
        image.make(options, install=fill, room=images.MIB)
    assert traces() == ("", "")
    assert not list(Path(options.out).parent.glob("out.*"))


def test_an_installation_that_fails_leaves_nothing_behind_though_a_program_still_uses_the_card(
    options: image_options.Options,
) -> None:
    busy: list[subprocess.Popen[bytes]] = []

    def fail(root: Path, _: image_options.Options) -> None:
        busy.append(subprocess.Popen(["sleep", "2"], cwd=root))
        raise HardwareError("no luck")

    with pytest.raises(HardwareError, match="no luck"):
        image.make(options, install=fail, room=images.MIB)
    busy[0].wait(5)
    assert traces() == ("", "")


@pytest.mark.parametrize(("kind", "deaf"), [("INT", ""), ("TERM", "trap '' TERM;"), ("HUP", "")])
def test_one_who_stops_it_leaves_nothing_behind(
    options: image_options.Options, tmp_path: Path, kind: str, deaf: str
) -> None:
    """A process of its own, whose install.sh is one that goes on for long, once with children that hear no TERM."""
    script = tmp_path / "source/install.sh"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\n{deaf}\ncd "$2"; touch "$0.begun"; sleep 61 & wait; sleep 62\n')
    script.chmod(0o755)
    program = (
        "import sys; from pathlib import Path; from device.install import image;"
        f"image.SOURCE = Path({str(script.parent)!r}); image.can_run = lambda root: None;"
        f"sys.exit(image.main(['--image', {options.image!r}, '--out', {options.out!r}, '--board', 'usb']))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True) as maker:
        limit = time.monotonic() + 30
        while not Path(f"{script}.begun").exists() and time.monotonic() < limit and maker.poll() is None:
            time.sleep(0.05)
        subprocess.run(["kill", f"-{kind}", str(maker.pid)], check=True)
        _, said = maker.communicate(timeout=60)
    assert Path(f"{script}.begun").exists()
    assert (maker.returncode, said) == (
        130,
        "install.sh: Stopped. Nothing is left mounted, and there is no new image.\n",
    )
    assert traces() == ("", "")
    assert not list(tmp_path.glob("out.*"))
