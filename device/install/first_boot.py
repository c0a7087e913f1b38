"""What the first start of a new card asks a screen for, said beforehand: Wi-Fi, name, who may log in.

All of it is written where Raspberry Pi OS itself would put it, Bookworm and Trixie alike. Trixie's cloud-init changes none
of it as long as the files user-data and network-config of the boot partition say nothing, as in a new image; what Raspberry
Pi Imager writes into them (Wi-Fi, name, user, SSH) is done at the first start, and so wins.
"""

import os
import re
import uuid
from pathlib import Path

from device.errors import UsageError
from device.install.image_options import Options, secret, ssh_keys

FIRST_USER = 1000
"""The user that every image of Raspberry Pi OS has, called pi until its first start."""


def prepare(root: Path, options: Options) -> None:
    """Write it into the system below `root`, whose boot partition is mounted at boot/firmware.

    Raises:
        UsageError: the system has another user of that name.
        OSError: the card is full.
    """
    if options.wifi_ssid:
        connect(root, options.wifi_ssid, secret(options.wifi_password_file))
        unblock(root, options.wifi_country)
    if options.hostname:
        name(root, options.hostname)
    if options.ssh_key_file:
        let_in(root, options.user, ssh_keys(options))


def connect(root: Path, ssid: str, password: str) -> None:
    """NetworkManager's profile of the network. It passes over one that others may read."""
    directory = root / "etc/NetworkManager/system-connections"
    directory.mkdir(parents=True, exist_ok=True)
    write(directory / "earshot.nmconnection", profile(ssid, password), 0o600)


def profile(ssid: str, password: str) -> str:
    """The network as a keyfile of NetworkManager; without a password it is an open one."""
    lines = ["[connection]", "id=earshot", f"uuid={uuid.uuid5(uuid.NAMESPACE_DNS, ssid)}", "type=wifi", ""]
    lines += ["[wifi]", "mode=infrastructure", f"ssid={_ssid(ssid)}", ""]
    if password:
        lines += ["[wifi-security]", "key-mgmt=wpa-psk", f"psk={_text(password)}", ""]
    lines += ["[ipv4]", "method=auto", "", "[ipv6]", "method=auto", ""]
    return "\n".join(lines)


def _ssid(ssid: str) -> str:
    """As text where nobody can take it for a list of bytes, else as that."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*( [A-Za-z0-9_.-]+)*", ssid):
        return ssid
    return "".join(f"{byte};" for byte in ssid.encode())


def _text(value: str) -> str:
    """A keyfile drops spaces at the ends, and takes a backslash for the beginning of something else."""
    inner = value.replace("\\", r"\\").strip(" ")
    before = len(value) - len(value.lstrip(" "))
    after = len(value) - len(value.rstrip(" ")) if inner else 0
    return r"\s" * before + inner + r"\s" * after


def unblock(root: Path, country: str) -> None:
    """Raspberry Pi OS keeps the radio off until it knows the country, in three places."""
    cmdline = root / "boot/firmware/cmdline.txt"
    cmdline.write_text(with_country(cmdline.read_text(), country))
    state = root / "var/lib/NetworkManager/NetworkManager.state"
    if state.exists():
        state.write_text(re.sub(r"(?m)^WirelessEnabled=.*$", "WirelessEnabled=true", state.read_text()))
    for blocked in root.glob("var/lib/systemd/rfkill/*:wlan"):
        blocked.write_text("0\n")


def with_country(cmdline: str, country: str) -> str:
    """The kernel's one line, with the country whose rules the radio follows."""
    words = [word for word in cmdline.split() if not word.startswith("cfg80211.ieee80211_regdom=")]
    return " ".join([*words, f"cfg80211.ieee80211_regdom={country}"]) + "\n"


def name(root: Path, hostname: str) -> None:
    """The machine's name, and its own address under that name, without which sudo waits for a name server."""
    (root / "etc/hostname").write_text(f"{hostname}\n")
    hosts = root / "etc/hosts"
    hosts.write_text(with_name(hosts.read_text() if hosts.exists() else "127.0.0.1\tlocalhost\n", hostname))


def with_name(hosts: str, hostname: str) -> str:
    """The text of /etc/hosts with this name for 127.0.1.1."""
    lines = [line for line in hosts.splitlines() if line.split()[:1] != ["127.0.1.1"]]
    return "\n".join([*lines, f"127.0.1.1\t{hostname}", ""])


def let_in(root: Path, wanted: str, keys: list[str]) -> None:
    """The first user, who may log in by SSH with these keys and nothing else.

    Its name is changed by userconf.txt at the first start, after which nobody is asked for one: doing it here would have
    cloud-init make a second user pi. With `*` for a password there is none, so that sudo must not ask for it.
    """
    users = {entry[0]: entry for line in (root / "etc/passwd").read_text().splitlines() if (entry := line.split(":"))}
    first = next((entry for entry in users.values() if entry[2] == str(FIRST_USER)), None)
    if first is None:
        raise UsageError(f"The image has no user {FIRST_USER}, as every Raspberry Pi OS has: is it changed already?")
    user = wanted or first[0]
    if user != first[0] and user in users:
        raise UsageError(f"--user {user}: the system has a user of that name, for itself. Take another.")
    boot = root / "boot/firmware"
    (boot / "userconf.txt").write_text(f"{user}:*\n")
    (boot / "ssh").touch()
    ssh = root / first[5].lstrip("/") / ".ssh"  # userconf moves the directory along with the name
    ssh.mkdir(mode=0o700, parents=True, exist_ok=True)
    write(ssh / "authorized_keys", "\n".join([*keys, ""]), 0o600)
    for path in (ssh, ssh / "authorized_keys"):
        os.chown(path, FIRST_USER, int(first[3]))
    sudoers = root / "etc/sudoers.d"
    sudoers.mkdir(mode=0o750, exist_ok=True)
    write(sudoers / "010_earshot-owner", f"{user} ALL=(ALL) NOPASSWD: ALL\n", 0o440)


def write(path: Path, text: str, mode: int) -> None:
    """A file that at no moment has another mode."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
