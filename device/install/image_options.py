"""The options of `install.sh --image`: from the command line, or from a TOML file that is reached by --options. Stdlib only.

Secrets come in files: a command line is seen by everybody on the machine, and kept by the shell.
"""

import dataclasses
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from device.boards import BOARDS
from device.errors import UsageError
from device.settings import did_you_mean

COUNTRIES = Path("/usr/share/zoneinfo/iso3166.tab")
_KEY_LINE = re.compile(r"(ssh-(ed25519|rsa)|ecdsa-sha2-\S+|sk-\S+) [A-Za-z0-9+/]{40,}=*( .*)?")


def _option(about: str) -> str:
    return field(default="", metadata={"about": about})


@dataclass(frozen=True)
class Options:
    """What is asked for; "" where nothing is."""

    image: str = _option("the image of Raspberry Pi OS, 64-bit, Bookworm or newer: IN.img or IN.img.xz")
    out: str = _option("the image to make; it must not be there yet")
    wifi_ssid: str = _option("name of the Wi-Fi network")
    wifi_password_file: str = _option("a file with its password; an empty one for an open network")
    wifi_country: str = _option("the country the speaker stands in, such as GB: without it the radio stays off")
    hostname: str = _option("name of the speaker in the network")
    user: str = _option("name of the user to log in as, instead of pi")
    ssh_key_file: str = _option("the public SSH key, such as id_ed25519.pub, that may log in")
    board: str = _option("the sound board, which has to be named: see ./install.sh --list-boards")
    agent: str = _option("whom you will talk to")
    key_file: str = _option("a file with the agent's API key")
    settings: str = _option("a settings file to begin with, as /etc/earshot/earshot.toml")
    offline: str = _option("a directory that --download filled for this system")


FIELDS = {one.name.replace("_", "-"): one for one in dataclasses.fields(Options)}
_FILES = ("image", "wifi-password-file", "ssh-key-file", "key-file", "settings")
_PATHS = (*_FILES, "out", "offline")


def usage() -> str:
    """The options with what they are for."""
    rows = "\n".join(f"  --{name:20} {one.metadata['about']}" for name, one in FIELDS.items())
    return (
        "Usage: sudo ./install.sh --image IN.img[.xz] --out OUT.img [OPTION...]\n"
        f'{rows}\n  --{"options":20} a TOML file with any of these, such as wifi-ssid = "Home"\n'
        "Write OUT.img to a card as it is. What Raspberry Pi Imager is told to set goes before what is set here."
    )


def parse(words: Sequence[str]) -> Options:
    """The options that the words, and the file that they name, ask for. Words go before the file.

    Raises:
        UsageError: with every mistake, a sentence each.
    """
    mistakes: list[str] = []
    given = _from_words(words, mistakes)
    values = {**_from_file(given.pop("options", ""), mistakes), **given}
    options = Options(**{name.replace("-", "_"): value for name, value in values.items()})
    if mistakes := [*mistakes, *problems(options)]:
        raise UsageError("\n".join(mistakes))
    return options


def problems(options: Options) -> Iterator[str]:
    """What is wrong with the options, and with the files that they name, a sentence each."""
    if not options.image or not options.out:
        yield "Both --image IN.img and --out OUT.img are needed."
    for name in _FILES:
        path = getattr(options, name.replace("-", "_"))
        if path and not Path(path).is_file():
            yield f"--{name}: there is no file {path}."
    yield from _about_out(options)
    yield from _about_wifi(options)
    yield from _about_login(options)
    if options.hostname and not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", options.hostname, re.IGNORECASE):
        yield f"--hostname {options.hostname!r}: a name has letters, digits and hyphens, none of these at its ends, 63 at most."
    if not options.board:
        yield "Name the board with --board NAME: nobody sees from here what is plugged in (./install.sh --list-boards)."
    elif options.board not in BOARDS:
        yield f"--board {options.board}: there is no such board.{did_you_mean(options.board, BOARDS)}"
    if options.agent and options.settings:
        yield f"--agent and --settings cannot both be: say [agent] protocol = ... in {options.settings}."
    if options.offline and not Path(options.offline, "debs/Packages").is_file():
        yield f"--offline {options.offline}: that directory was not filled by ./install.sh --download DIR."
    yield from _about_secrets(options)


def secret(path: str) -> str:
    """What the file holds, without the line break at its end; "" if it cannot be read, or there is none."""
    try:
        return Path(path).read_text().rstrip("\r\n") if path else ""
    except (OSError, UnicodeDecodeError):
        return ""


def ssh_keys(options: Options) -> list[str]:
    """The lines for authorized_keys."""
    lines = (line.strip() for line in secret(options.ssh_key_file).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _from_words(words: Sequence[str], mistakes: list[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    rest = list(words)
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        name = word.removeprefix("--")
        if not word.startswith("--") or name not in (*FIELDS, "options"):
            mistakes.append(f"There is no option {word}.{_near(name)}")
            if rest and not rest[0].startswith("--"):
                del rest[0]
            continue
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else ""
        if value:
            given[name] = value
        elif name != "image":  # `--image --options FILE` may have the image in the file
            mistakes.append(f"--{name} needs a word after it.")
    return given


def _from_file(path: str, mistakes: list[str]) -> dict[str, str]:
    """Paths in it are seen from where it lies."""
    if not path:
        return {}
    table: Mapping[str, object] = {}
    try:
        table = tomllib.loads(Path(path).read_text())
    except OSError as error:
        mistakes.append(f"--options {path}: it cannot be read: {error.strerror}.")
    except ValueError as error:
        mistakes.append(f"--options {path}: it is no TOML: {error}.")
    given: dict[str, str] = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        if name not in FIELDS:
            mistakes.append(f"{path}: there is no option {key}.{_near(name)}")
        elif not isinstance(value, str):
            mistakes.append(f"{path}: {key} must be text, in quotes.")
        elif value:
            given[name] = str(Path(path).parent / value) if name in _PATHS else value
    return given


def _near(name: str) -> str:
    if re.search("pass|secret|psk", name):
        return " A password comes in a file: --wifi-password-file FILE."
    return did_you_mean(name, (*FIELDS, "options")).replace("mean ", "mean --")


def _about_out(options: Options) -> Iterator[str]:
    out = Path(options.out)
    if not options.out:
        return
    if out.is_block_device():
        yield f"--out {out} is a disk. Name a file, and write that to the card with Raspberry Pi Imager."
    elif out.exists() or out.is_symlink():
        yield f"--out {out} is there already: remove it, or take another name."
    elif not out.parent.is_dir():
        yield f"--out {out}: there is no directory {out.parent}."


def _about_wifi(options: Options) -> Iterator[str]:
    if not options.wifi_ssid:
        for name in ("wifi-password-file", "wifi-country"):
            if getattr(options, name.replace("-", "_")):
                yield f"--{name} needs --wifi-ssid."
        return
    if len(options.wifi_ssid.encode()) > 32:
        yield "--wifi-ssid is longer than 32 bytes, which no network's name is."
    if not options.wifi_password_file:
        yield "--wifi-ssid needs --wifi-password-file FILE (an empty file for an open network)."
    if not options.wifi_country:
        yield "--wifi-ssid needs --wifi-country, such as GB: without it the radio stays off."
    elif not _is_country(options.wifi_country):
        yield f"--wifi-country {options.wifi_country!r} is not a country's code of ISO 3166, two capital letters such as GB."


def _is_country(code: str) -> bool:
    try:
        known = {line[:2] for line in COUNTRIES.read_text().splitlines() if not line.startswith("#")}
    except OSError:  # this machine has no tzdata
        return re.fullmatch("[A-Z]{2}", code) is not None
    return code in known


def _about_login(options: Options) -> Iterator[str]:
    if options.user and (
        not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", options.user) or options.user in ("root", "earshot")
    ):
        yield f"--user {options.user!r}: a user has small letters, digits and hyphens, and is neither root nor earshot."
    if options.user and not options.ssh_key_file:
        yield "--user needs --ssh-key-file: the user gets no password, so that without a key nobody could log in."
    if not options.ssh_key_file or not Path(options.ssh_key_file).is_file():
        return
    keys = ssh_keys(options)
    if any("PRIVATE KEY" in line for line in keys):
        yield f"--ssh-key-file {options.ssh_key_file} is the private key, which stays with you: give its .pub."
    elif not keys or not all(_KEY_LINE.fullmatch(line) for line in keys):
        yield f"--ssh-key-file {options.ssh_key_file} holds something else than public SSH keys (ssh-ed25519 AAAA...)."


def _about_secrets(options: Options) -> Iterator[str]:
    """Never shows them."""
    password = secret(options.wifi_password_file)
    if password and not re.fullmatch(r"[ -~]{8,63}|[0-9A-Fa-f]{64}", password):
        yield f"The password in {options.wifi_password_file} has not 8 to 63 letters of ASCII, or 64 hexadecimal digits."
    if (
        options.key_file
        and Path(options.key_file).is_file()
        and not re.fullmatch(r"\s*[!-~]+\s*", secret(options.key_file))
    ):
        yield f"{options.key_file} holds no API key: that is one word without spaces."
    if options.settings and Path(options.settings).is_file():
        try:
            tomllib.loads(Path(options.settings).read_text())
        except ValueError as error:
            yield f"--settings {options.settings}: it is no TOML: {error}."
