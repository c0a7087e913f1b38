"""Small images of a Raspberry Pi OS, made without root."""

import struct
import subprocess
from pathlib import Path

MIB = 1 << 20
BOOT, ROOT = 1 * MIB, 9 * MIB
"""Where the partitions start."""
FILES = {
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\nVERSION_ID="13"\n',
    "etc/passwd": "root:x:0:0::/root:/bin/bash\npi:x:1000:1000:,,,:/home/pi:/bin/bash\nsshd:x:101:65534:::/bin/false\n",
    "etc/hostname": "raspberrypi\n",
    "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n\n127.0.1.1\t\traspberrypi\n",
    "lib/ld-linux-aarch64.so.1": "",
    "home/pi/.bashrc": "",
    "var/lib/NetworkManager/NetworkManager.state": "[main]\nWirelessEnabled=false\n",
    "var/lib/systemd/rfkill/platform-fe300000.mmcnr:wlan": "1\n",
    "boot/firmware/.keep": "",
}
BOOT_FILES = {
    "config.txt": "dtparam=audio=on\n[all]\n",
    "cmdline.txt": "console=tty1 root=PARTUUID=1234abcd-02 rootwait cfg80211.ieee80211_regdom=US resize\n",
}


def system(at: Path, **changed: str | None) -> Path:
    """The tree of a system, boot partition included. `changed` gives other texts, None for files that are not there."""
    for name, text in {
        **FILES,
        **{f"boot/firmware/{name}": text for name, text in BOOT_FILES.items()},
        **changed,
    }.items():
        if text is not None:
            (at / name).parent.mkdir(parents=True, exist_ok=True)
            (at / name).write_text(text)
    return at


def image(at: Path, tree: Path, fat: bool = True) -> Path:
    """An image of a card with that system: 8 MiB of FAT, 16 MiB of ext4. Not `fat`: for kernels that have none."""
    with at.open("wb") as file:
        file.truncate(ROOT + 16 * MIB)
        file.seek(440)
        file.write(struct.pack("<I", 0x1234ABCD))
        file.seek(446)
        for kind, start, size in ((0x0C, BOOT, 8 * MIB), (0x83, ROOT, 16 * MIB)):
            file.write(struct.pack("<4xB3xII", kind, start // 512, size // 512))
        file.seek(510)
        file.write(b"\x55\xaa")
    firmware = tree / "boot/firmware"
    if fat:
        _run("mkfs.vfat", "--offset", BOOT // 512, at, 8 * 1024)
        _run("mcopy", "-i", f"{at}@@{BOOT}", *sorted(firmware.iterdir()), "::")
    else:
        _run("mke2fs", "-q", "-t", "ext2", "-d", firmware, "-E", f"offset={BOOT}", at, "8M")
    for path in firmware.iterdir():
        path.unlink()
    _run("mke2fs", "-q", "-t", "ext4", "-d", tree, "-E", f"offset={ROOT}", at, "16M")
    return at


def _run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
