"""What must not be in a support bundle is taken out, wherever it stands; what explains a fault stays."""

import ipaddress
import json
import random
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from device.system.check.scrub import scrub

PRIVATE = """\
connected to 192.168.17.3:8765 and fe80::1234:5678%wlan0, over 2001:db8::17
wlan0 is b8:27:eb:12:34:56, enxb827eb123456, ssid="The Smiths' house", added 'ssid' value 'TheSmiths'
/var/lib/iwd/TheSmiths.psk, /home/ada/key, ada@smith.example, kitchen-pi kitchen-pi.fritz.box
token=abc123 sk-proj-Ab3dE6gH1jK4mN7pQ0sT wss://ada:pw@voice.smith.example/ws?key=abc123
session 0f8fad5b-d9cb-469f-a165-70867728950e
"""


def test_nothing_private_stays_of_a_text_with_one_of_each():
    cleaned = scrub(PRIVATE, names=["ada", "kitchen-pi"]).lower()
    for part in (
        "192.168", "fe80", "2001", "eb:12", "eb123456", "smith", "ada", "kitchen", "abc123", "ab3de", "0f8fad5b", "fritz"
    ):  # fmt: skip
        assert part not in cleaned


BEFORE = st.sampled_from(["", " ", "=", "(", '"', "[", ": ", "to ", "'", ",", "<", "addr="])
AFTER = st.sampled_from(["", " ", ")", '"', "]", ",", ". ", "\n", ";", "'", "/24"])


@pytest.mark.slow
@given(st.ip_addresses(v=4), BEFORE, AFTER)
def test_addresses_of_version_4_go(address, before, after):
    cleaned = scrub(f"{before}{address}{after}")
    assert (str(address) in cleaned) is (address.is_loopback or address.is_unspecified)


@pytest.mark.slow
@given(st.ip_addresses(v=4), st.integers(1, 65535))
def test_addresses_with_a_port_go(address, port):
    if not address.is_loopback and not address.is_unspecified:
        assert str(address) not in scrub(f"connect to {address}:{port} failed")


def forms(address):
    yield str(address)
    yield address.exploded
    yield str(address).upper()
    yield f"{address}%wlan0"


@pytest.mark.slow
@given(st.ip_addresses(v=6), BEFORE, AFTER)
@example(ipaddress.IPv6Address("fe80::1"), " ", "\n")
@example(ipaddress.IPv6Address("2001:db8::"), " ", ",")
def test_addresses_of_version_6_go_in_every_form(address, before, after):
    if not address.is_loopback and not address.is_unspecified:
        for form in forms(address):
            assert form.partition("%")[0] not in scrub(f"{before}{form}{after}"), form


def test_addresses_that_wrap_version_4_and_stand_in_urls_go():
    cleaned = scrub("at ::ffff:192.168.17.3 and ws://[2001:db8::17]:8765/ws and http://10.1.2.3/x")
    assert not any(part in cleaned for part in ("192.168", "2001", "17]", "10.1"))


@pytest.mark.slow
@given(st.binary(min_size=6, max_size=6), st.sampled_from([":", "-", "_"]), st.booleans(), BEFORE, AFTER)
def test_hardware_addresses_go(data, separator, upper, before, after):
    mac = data.hex(separator)
    mac = mac.upper() if upper else mac
    assert mac not in scrub(f"{before}{mac}{after}")
    for name in (f"enx{data.hex()}", f"wlx{data.hex()}"):
        assert data.hex() not in scrub(f"{before}{name}{after}")


SSID = st.text(
    st.characters(codec="utf-8", exclude_characters="\n\r\"'`“”\\", exclude_categories=["Cs", "Cc"]), min_size=9
)
NETWORKS = [
    'ssid="{}"',
    "SSID='{}'",
    'Activation: (wifi) connected to wireless network "{}"',
    "Config: added 'ssid' value '{}'",
    'wlan0: access point "{}"',
    "Connection '{}' activated",
    "Trying to associate with SSID '{}'",
]


@pytest.mark.slow
@given(SSID, st.sampled_from(NETWORKS))
def test_names_of_networks_go_in_every_form(name, form):
    marked = f"Qx{name}xQ"
    assert marked not in scrub(form.format(marked))
    assert marked not in scrub(json.dumps({"line": form.format(marked)}, ensure_ascii=False))


@pytest.mark.slow
@given(st.text(string.ascii_letters + string.digits + " -_", min_size=3, max_size=30).map(lambda name: f"Q{name}Q"))
def test_names_of_networks_go_without_quotes_and_as_files(name):
    for line in (f"ssid={name}", f"event: connect, ssid: {name}, bss: x", f"ESSID:{name}"):
        assert name not in scrub(line)
    for line in (f"/var/lib/iwd/{name}.psk", f"/etc/NetworkManager/system-connections/{name}.nmconnection is loaded"):
        assert name not in scrub(line)


@pytest.mark.slow
@given(st.emails(domains=st.just("example.com")), BEFORE)
def test_mail_addresses_go(address, before):
    assert "example.com" not in scrub(f"{before}{address} ")


ALPHABETS = {
    "hex": "0123456789abcdef",
    "HEX": "0123456789ABCDEF",
    "base36": string.digits + string.ascii_lowercase,
    "base62": string.digits + string.ascii_letters,
}


@pytest.mark.slow
@given(st.integers(), st.sampled_from(sorted(ALPHABETS)), st.integers(28, 64), BEFORE, AFTER)
def test_keys_go_whatever_they_are_called(seed, alphabet, length, before, after):
    token = "".join(random.Random(seed).choices(ALPHABETS[alphabet], k=length))
    assert token not in scrub(f"{before}{token}{after}")
    assert token not in scrub(f"{before}sk-proj-{token}{after}")


@pytest.mark.slow
@given(st.integers(), st.integers(43, 90))
def test_keys_with_hyphens_go(seed, length):
    token = "".join(random.Random(seed).choices(ALPHABETS["base62"] + "-_", k=length))
    assert token not in scrub(f"said {token} there")


@pytest.mark.slow
@given(st.uuids())
def test_numbers_of_sessions_and_conversations_go(number):
    assert str(number) not in scrub(f'{{"session_id": "{number}"}}')


@pytest.mark.slow
@given(
    st.text(string.ascii_letters + string.digits + "!#$%&*+-./", min_size=4, max_size=12).map(lambda key: f"Q{key}Q")
)
def test_what_is_called_a_secret_goes_however_short(secret):
    for line in (
        f"api_key={secret}",
        f'"password": "{secret}"',
        f"Authorization: Bearer {secret}",
        f"psk={secret} x",
        f"EARSHOT_API_KEY={secret}",
        json.dumps(json.dumps({"token": secret})),
    ):
        assert secret not in scrub(line), line


@pytest.mark.slow
@given(st.text(min_size=4, max_size=40))
def test_the_key_itself_goes_whatever_it_looks_like(secret):
    if secret not in "<secret>":
        assert secret not in scrub(f"said {secret!s} there", secrets=[secret]).replace("<secret>", "")


@pytest.mark.slow
@given(st.text(string.ascii_lowercase, min_size=3, max_size=12).map(lambda name: f"q{name}"))
def test_homes_and_names_of_people_and_machines_go(name):
    cleaned = scrub(f"/home/{name}/x.wav {name}: {name.upper()} {name}.service", names=[name])
    assert name not in cleaned.lower()
    assert name not in scrub(f"/home/{name}/x.wav")


@pytest.mark.slow
@given(st.text(max_size=400))
def test_any_text_can_be_scrubbed_and_a_second_time_changes_little(text):
    once = scrub(text)
    assert isinstance(once, str) and isinstance(scrub(once), str)


@pytest.mark.parametrize(
    ("url", "left"),
    [
        ("wss://voice.smith.example/ws?token=abc#f", "wss://<host>/ws?…"),
        ("https://ada:pw@voice.smith.example:8443/x", "https://<host>/x"),
        ("ws://127.0.0.1:8765/ws/voice", "ws://127.0.0.1:8765/ws/voice"),
        ("wss://api.vendor.example/v1?model=x", "wss://api.vendor.example/v1?…"),
        ("http://kitchen.local:80/", "http://<host>/"),
    ],
)
def test_of_a_url_the_way_remains_and_the_host_of_everybody(url, left):
    assert scrub(f"at {url} there", hosts=["api.vendor.example"]) == f"at {left} there"


def test_names_of_the_house_go():
    assert scrub("printer.fritz.box and nas.home.arpa, kitchen.local") == "<host> and <host>, <host>"


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("Serial: 10000000abcdef12", "Serial: <id>"),
        ("serial 1000000012345678.", "serial <id>."),
        ("MAC=b827eb123456,", "MAC=<id>,"),
        ("from ip:2001:db8::5 and source:fe80::1%wlan0", "from ip:<ip> and source:<ip>"),
        ("IPv6:2001:db8::5 [addr:::ffff:192.168.17.3]", "IPv6:<ip> [addr:<ip>]"),
        ("said AIzaSy-lower-case_words-only-a-b-c-d_e", "said <token>"),
        ("with password hunter2, his passphrase is tr0ub4dor;", "with password <secret>, his passphrase is <secret>;"),
        ("0f8fad5b-d9cb-469f-a165-70867728950e", "<id>"),
        ("= hey_jarvis counts in the voice of ada, rose only", "= hey_jarvis counts in the voice of <name> only"),
        ("! /var/lib/earshot/voices/ada-rose.npz was made", "! /var/lib/earshot/voices/<name>.npz was made"),
    ],
)
def test_what_is_private_without_a_mark_of_its_own_goes(line, left):
    assert scrub(line) == left


SENSE = """\
bcm2835-i2s fe203000.i2s: ASoC: error at snd_soc_dai_set_fmt on fe203000.i2s: -22
 1 [seeed2micvoicec]: simple-card - seeed2micvoicecard
googlevoicehat-soundcard snd-rpi-googlevoicehat-soundcard
bcm2835-i2s-wm8960-hifi wm8960-hifi-0: wm8960-hifi-0 :  : playback 1 : capture 1
hwmon hwmon1: Undervoltage detected!
earshot.service: Main process exited, code=killed, status=6/ABRT
device.errors.HardwareError: The microphone 'ReSpeaker 4 Mic Array (UAC1.0): USB Audio (hw:1,0)' is gone ([Errno -9999]).
ConnectionRefusedError, requests.exceptions.SSLCertVerificationError
[    12.345678] usb 1-1.2: New USB device found, idVendor=2886, idProduct=0018
= near_miss word=hey_jarvis score=0.41 at 12:34:56 on 2026-11-21
dtoverlay=googlevoicehat-soundcard
/opt/earshot/current/venv/bin/python -m device run, Python 3.11.2, Linux 6.12.47+rpt-rpi-v8
# API key: none is set
# API key: from EARSHOT_API_KEY
api_key_file = ""
{"load_percent": 0.123456789012, "clipped": 0.1234567890123456}
std::string at 0x7f, ::1, listening on 127.0.0.1:8765
"""


@pytest.mark.parametrize("line", SENSE.splitlines())
def test_what_explains_a_fault_stays(line):
    assert scrub(line, names=["raspberrypi", "pi", "earshot", "ada"]) == line
