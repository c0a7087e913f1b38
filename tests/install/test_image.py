"""Making a card: what it is told, what it writes, what becomes of the image."""

import configparser
import lzma
import os
import re
import stat
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.errors import HardwareError, UsageError
from device.install import card, first_boot, image, image_options
from tests.install import images

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEJlYXIgd2l0aCBtZSwgSSBhbSBhIGtleSBmb3IgYSB0ZXN0 ada@home"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """What the options name."""
    for name, text in (("in.img", ""), ("password", "open sesame\n"), ("id.pub", f"{KEY}\n"), ("key", "sk-12345\n")):
        (tmp_path / name).write_text(text)
    return tmp_path


def told(files: Path, *words: str) -> list[str]:
    with pytest.raises(UsageError) as error:
        image_options.parse(
            ["--image", str(files / "in.img"), "--out", str(files / "out.img"), "--board", "usb", *words]
        )
    return str(error.value).splitlines()


# --- Options --------------------------------------------------------------------------------------------------------


def test_options_come_from_words_and_from_a_file_and_words_go_first(files: Path) -> None:
    (files / "my.toml").write_text(
        'image = "in.img"\nout = "out.img"\nhostname = "kitchen"\nwifi-ssid = "Home"\nwifi_password_file = "password"\n'
        'wifi-country = "DE"\nboard = "usb"\n'
    )
    options = image_options.parse(["--options", str(files / "my.toml"), "--hostname=attic", "--image"])
    assert options.image == str(files / "in.img")
    assert (options.hostname, options.wifi_ssid, options.wifi_country) == ("attic", "Home", "DE")
    assert image_options.secret(options.wifi_password_file) == "open sesame"


def test_every_mistake_is_told_at_once(files: Path) -> None:
    assert told(files, "--hostnam", "x", "--board", "codec-zer", "--wifi-ssid", "Home", "--user", "ada") == [
        "There is no option --hostnam. Did you mean --hostname?",
        "--wifi-ssid needs --wifi-password-file FILE (an empty file for an open network).",
        "--wifi-ssid needs --wifi-country, such as GB: without it the radio stays off.",
        "--user needs --ssh-key-file: the user gets no password, so that without a key nobody could log in.",
        "--board codec-zer: there is no such board. Did you mean codec-zero?",
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--hostname", "-x"], "a name has letters, digits and hyphens"),
        (["--wifi-country", "GB"], "--wifi-country needs --wifi-ssid."),
        (["--wifi-ssid", "a" * 33], "longer than 32 bytes"),
        (["--wifi-ssid", "Home", "--wifi-country", "gb"], "'gb' is not a country's code"),
        (["--wifi-password", "x"], "A password comes in a file"),
        (["--user", "root"], "neither root nor earshot"),
        (["--user", "Ada Lovelace"], "small letters, digits and hyphens"),
        (["--board"], "--board needs a word after it."),
        (["--key-file", "nowhere"], "there is no file nowhere."),
        (["--offline", "."], "was not filled by"),
        (["--options", "nowhere"], "cannot be read: No such file or directory."),
        (["surprise"], "There is no option surprise."),
    ],
)
def test_a_mistake_is_told_in_a_sentence(files: Path, words: list[str], sentence: str) -> None:
    assert any(sentence in line for line in told(files, *words))


def test_the_board_has_to_be_named_as_nobody_sees_it_from_here(files: Path) -> None:
    words = ["--image", str(files / "in.img"), "--out", str(files / "out.img")]
    with pytest.raises(UsageError, match=r"Name the board with --board NAME: .*--list-boards"):
        image_options.parse(words)
    (files / "my.toml").write_text('board = "usb"\n')
    assert image_options.parse([*words, "--options", str(files / "my.toml")]).board == "usb"
    assert "has to be named" in image_options.usage()


def test_an_image_that_is_there_is_not_written_over(files: Path) -> None:
    (files / "out.img").touch()
    assert told(files) == [f"--out {files / 'out.img'} is there already: remove it, or take another name."]


@pytest.mark.parametrize(
    ("option", "text", "sentence"),
    [
        ("--ssh-key-file", "-----BEGIN OPENSSH PRIVATE KEY-----\nhush\n", "is the private key"),
        ("--ssh-key-file", "hush\n", "something else than public SSH keys"),
        ("--key-file", "hush hush\n", "holds no API key"),
        ("--wifi-password-file", "hush\n", "has not 8 to 63 letters"),
        ("--settings", "hush\n", "is no TOML"),
    ],
)
def test_a_secret_that_cannot_be_one_is_refused_and_not_shown(
    files: Path, option: str, text: str, sentence: str
) -> None:
    (files / "file").write_text(text)
    lines = told(files, option, str(files / "file"), "--wifi-ssid", "Home", "--wifi-country", "GB")
    assert any(sentence in line for line in lines)
    assert "hush" not in "".join(lines)


def test_a_file_of_options_is_told_its_mistakes_with_its_name(files: Path) -> None:
    (files / "my.toml").write_text('hostnam = "x"\nuser = 7\n')
    lines = told(files, "--options", str(files / "my.toml"))
    assert lines[0].endswith("my.toml: there is no option hostnam. Did you mean --hostname?")
    assert lines[1].endswith("my.toml: user must be text, in quotes.")


# --- Files of the first start ---------------------------------------------------------------------------------------


@given(
    ssid=st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
    password=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=8, max_size=63),
)
def test_a_profile_says_to_networkmanager_what_was_meant(ssid: str, password: str) -> None:
    keyfile = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#",), strict=True)
    keyfile.read_string(first_boot.profile(ssid, password))
    name = keyfile["wifi"]["ssid"]
    assert (bytes(map(int, name.split(";")[:-1])) if name.endswith(";") else name.encode()) == ssid.encode()
    # A keyfile of GLib: \s is a space, \\ a backslash, and it takes no other one here.
    unescaped = re.sub(r"\\(.?)", lambda found: {"s": " ", "\\": "\\"}[found[1]], keyfile["wifi-security"]["psk"])
    assert unescaped == password


def test_a_network_without_a_password_is_open() -> None:
    assert "wifi-security" not in first_boot.profile("Home", "")


def test_the_card_joins_the_wifi_has_its_name_and_lets_its_owner_in(files: Path, tmp_path: Path) -> None:
    root = images.system(tmp_path / "root")
    chowned: list[tuple[Path, int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "chown", lambda path, user, group: chowned.append((path, user, group)))
        first_boot.prepare(
            root,
            image_options.Options(
                wifi_ssid="Home", wifi_password_file=str(files / "password"), wifi_country="DE",
                hostname="kitchen", user="ada", ssh_key_file=str(files / "id.pub"),
            ),
        )  # fmt: skip
    profile = root / "etc/NetworkManager/system-connections/earshot.nmconnection"
    assert stat.S_IMODE(profile.stat().st_mode) == 0o600
    assert "psk=open sesame\n" in profile.read_text()
    cmdline = (root / "boot/firmware/cmdline.txt").read_text()
    assert cmdline == "console=tty1 root=PARTUUID=1234abcd-02 rootwait resize cfg80211.ieee80211_regdom=DE\n"
    assert (root / "var/lib/NetworkManager/NetworkManager.state").read_text() == "[main]\nWirelessEnabled=true\n"
    assert (root / "var/lib/systemd/rfkill/platform-fe300000.mmcnr:wlan").read_text() == "0\n"
    assert (root / "etc/hostname").read_text() == "kitchen\n"
    assert (root / "etc/hosts").read_text().splitlines() == [
        "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost", "", "127.0.1.1\tkitchen",
    ]  # fmt: skip
    assert (root / "boot/firmware/userconf.txt").read_text() == "ada:*\n"
    assert (root / "boot/firmware/ssh").exists()
    keys = root / "home/pi/.ssh/authorized_keys"
    assert keys.read_text() == f"{KEY}\n"
    assert chowned == [(keys.parent, 1000, 1000), (keys, 1000, 1000)]
    sudoers = root / "etc/sudoers.d/010_earshot-owner"
    assert sudoers.read_text() == "ada ALL=(ALL) NOPASSWD: ALL\n"
    assert stat.S_IMODE(sudoers.stat().st_mode) == 0o440


def test_what_was_not_asked_for_is_left_as_it_is(tmp_path: Path) -> None:
    root = images.system(tmp_path / "root")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    first_boot.prepare(root, image_options.Options())
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_the_name_of_a_user_of_the_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the system has a user of that name"):
        first_boot.let_in(images.system(tmp_path / "root"), "sshd", [KEY])


# --- The image ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def card_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("image")
    return images.image(place / "in.img", images.system(place / "tree"))


def test_an_image_is_unpacked_and_its_root_partition_grows(card_image: Path, tmp_path: Path) -> None:
    packed, out = tmp_path / "in.img.xz", tmp_path / "out.img"
    packed.write_bytes(lzma.compress(card_image.read_bytes(), preset=0))
    card.copy(packed, out)
    assert out.read_bytes() == card_image.read_bytes()
    card.widen(out, 32 * images.MIB)
    assert card.parts(out) == ((images.BOOT, 8 * images.MIB), (images.ROOT, 48 * images.MIB))
    assert out.read_bytes()[:446] == card_image.read_bytes()[:446]  # the disk's id, by which it finds its root
    assert out.stat().st_blocks * 512 < out.stat().st_size / 2


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"PK\x03\x04" + bytes(600), "packed in a way that is not known"),
        (lzma.compress(bytes(range(256)) * 4000)[:-100], "damaged or not whole"),
        (b"\xfd7zXZ\x00" + bytes(600), "damaged or not whole"),
        (bytes(600), "no image of a card"),
        (b"", "no image of a card"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "in.img").write_bytes(content)
    options = image_options.Options(image=str(tmp_path / "in.img"), out=str(tmp_path / "out.img"))
    with pytest.raises(UsageError, match=sentence):
        image.make(options)
    assert [path.name for path in tmp_path.iterdir()] == ["in.img"]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"etc/os-release": 'ID=ubuntu\nPRETTY_NAME="Ubuntu 24.04"\n'}, "Ubuntu 24.04, which is no Raspberry Pi OS"),
        ({"boot/firmware/config.txt": None}, "which is no Raspberry Pi OS"),
        ({"etc/os-release": None}, "an unknown system"),
        ({"lib/ld-linux-aarch64.so.1": None}, "32-bit"),
        ({"etc/os-release": 'ID=debian\nVERSION_ID="11"\nPRETTY_NAME="Debian 11"\n'}, "of 2023"),
    ],
)
def test_a_system_that_cannot_be_a_speaker_is_refused(
    tmp_path: Path, changed: dict[str, str | None], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        card.check_system(images.system(tmp_path / "root", **changed))


@pytest.fixture
def unmounted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Mounting needs root: a tree stands for what would be mounted. tests/arm64/run mounts."""
    root = images.system(tmp_path / "root")

    @contextmanager
    def mounted(*_: object):  # type: ignore[no-untyped-def]
        yield root

    monkeypatch.setattr(image, "mounted", mounted)
    return root


def test_the_new_image_is_there_only_if_all_went_well(card_image: Path, tmp_path: Path, unmounted: Path) -> None:
    options = image_options.Options(image=str(card_image), out=str(tmp_path / "out.img"), hostname="kitchen")

    def fail(system: Path, _: image_options.Options) -> None:
        raise HardwareError("no luck")

    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(HardwareError):
        image.make(options, install=fail, room=images.MIB)
    assert {path.name for path in tmp_path.iterdir()} == before
    installed: list[Path] = []
    image.make(options, install=lambda system, _: installed.append(system), room=images.MIB)
    assert installed == [unmounted]
    assert (unmounted / "etc/hostname").read_text() == "kitchen\n"
    assert (tmp_path / "out.img").stat().st_size == card_image.stat().st_size + images.MIB


def test_an_image_with_secrets_is_its_owners(card_image: Path, files: Path, unmounted: Path) -> None:
    options = image_options.Options(image=str(card_image), out=str(files / "out.img"), key_file=str(files / "key"))
    image.make(options, install=lambda *_: None, room=images.MIB)
    assert stat.S_IMODE((files / "out.img").stat().st_mode) == 0o600


def test_nobody_else_can_read_it_while_it_is_made(
    card_image: Path, tmp_path: Path, unmounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []

    def look(*_: object) -> None:
        modes.extend(stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("out.*"))

    def copy(source: Path, to: Path) -> None:
        look()
        card.copy(source, to)

    monkeypatch.setattr(image, "copy", copy)
    options = image_options.Options(image=str(card_image), out=str(tmp_path / "out.img"))
    image.make(options, install=look, room=images.MIB)
    assert modes == [0o600] * 2
    assert stat.S_IMODE((tmp_path / "out.img").stat().st_mode) == 0o644, "which holds no secret"


def test_a_disk_without_room_is_told_before_anything_is_installed(
    card_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HardwareError, match=r"MB more are needed there"):
        image.make(image_options.Options(image=str(card_image), out=str(tmp_path / "out.img")), room=1 << 42)
    assert not list(tmp_path.iterdir())
