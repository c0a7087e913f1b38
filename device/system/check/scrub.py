"""Takes out of a text what is nobody's business: keys, names, networks, addresses. What remains can be posted. Pure."""

import ipaddress
import itertools
import re
from collections.abc import Collection
from urllib.parse import urlsplit

_OCTET = "[0-9A-Fa-f]{2}"
_QUOTE = r"\\?[\"'“”`]"
_MAC = re.compile(
    rf"(?<![0-9A-Za-z])(?:{_OCTET}([:_-])(?:{_OCTET}\1){{4}}(?:{_OCTET}\1{_OCTET}\1)?{_OCTET})(?![0-9A-Za-z])"
)
_MAC_OTHER = re.compile(
    r"(?<![0-9A-Za-z])(?:(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}|(?<=enx)[0-9A-Fa-f]{12}|(?<=wlx)[0-9A-Fa-f]{12})(?![0-9A-Za-z])"
    r"|(?<=enx)[0-9A-Fa-f]{12}|(?<=wlx)[0-9A-Fa-f]{12}"
)
_IPV4 = re.compile(r"(?<![0-9.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9])(?!\.[0-9])")
_IPV6 = re.compile(r"(?<![0-9A-Za-z:.])(?=[0-9A-Fa-f]*:[0-9A-Fa-f:]*:)[0-9A-Fa-f:]+(?:\.[0-9]{1,3}){0,3}(?:%[\w.-]+)?")
_LABELLED_IPV6 = re.compile(
    r"(?P<label>\b(?:\w*[G-Zg-z_]\w*|\w{5,}):)"
    r"(?P<address>(?=[0-9A-Fa-f]*:[0-9A-Fa-f:]*:)[0-9A-Fa-f:]+(?:\.[0-9]{1,3}){0,3}(?:%[\w.-]+)?)"
)
_EMAIL = re.compile(r"[^\s@<>\"(),:;\[\]\\]+@[\w-]+(?:\.[\w-]+)+")
_URL = re.compile(r"\b(?P<scheme>https?|wss?|ftp)://(?P<rest>[^\s\"'<>\\]+)", re.IGNORECASE)
_LOCAL = re.compile(
    r"(?<![\w.-])(?:[\w-]+\.)+(?:local|lan|home|internal|localdomain|fritz\.box|home\.arpa)(?![\w-]|\.\w)", re.I
)
_HOME = re.compile(r"(?<=/home/)[^/\s\"':]+")
_QUOTED = rf"{_QUOTE}.*?(?<!\\){_QUOTE}(?![\w])"
_SSID = re.compile(
    rf"(?P<head>\b(?:ssid|bssid|access point|wireless network|wi-?fi network|connection|network)\b{_QUOTE}?\s*"
    rf"(?:value\s*|name\s*)?[=:]?\s*)(?P<name>{_QUOTED})"
    r"|(?P<bare>\b(?:ssid|bssid|essid)\b\s*[=:]\s*)[^\n\"',;)]+",
    re.IGNORECASE,
)
_PROFILE = re.compile(r"(?<=/)[^/\n]+(?=\.(?:psk|open|8021x|nmconnection)\b)")
_VOICE = re.compile(r"(?<=counts in the voice of ).+(?= only)|(?<=/)[^/\n]+(?=\.npz\b)")
"""Who is enrolled: who may read the log may not always list their files."""
_NAMED_SECRET = re.compile(
    r"(?P<head>(?:api[-_ ]?key|token|secret|password|passphrase|passwd|psk|authorization|bearer|credential)s?"
    rf"\w*{_QUOTE}?\s*[=:]\s*(?:bearer\s+|basic\s+)?)(?!(?:none|from|true|false|null)\b|\"\"|'')"
    rf"(?P<value>{_QUOTED}|[^\s\"',;]+)|(?P<bearer>\bbearer\s+)[^\s\"',;]+",
    re.IGNORECASE,
)
_TOLD_SECRET = re.compile(r"(\b(?:password|passphrase|passwd|psk)\s+(?:(?:is|was)\s+)?)[^\s\"',;]+", re.IGNORECASE)
_GOOGLE_KEY = re.compile(r"\bAIza[\w-]{20,}")
_NUMBER = re.compile(r"(?<![0-9A-Za-z])(?<![0-9]\.)(?:[0-9A-Fa-f]{12}|[0-9A-Fa-f]{16})(?![0-9A-Za-z])")
"""A hardware address without separators, or the serial number of a Raspberry Pi; not what follows a decimal point."""
_UUID = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])")
_RUN = re.compile(r"[A-Za-z0-9_-]{20,}")
_WORDS = re.compile(r"(?:[A-Z]?[a-z]{2,}|[A-Z]{2,6}(?=[A-Z]|$))+")
_KNOWN = frozenset(
    {"earshot", "localhost", "root", "pi", "raspberrypi", "raspberry", "debian", "audio", "linux", "default"}
)
"""Names that every such machine has: they tell of nobody, and the text would lose its sense."""


def scrub(text: str, names: Collection[str] = (), secrets: Collection[str] = (), hosts: Collection[str] = ()) -> str:
    """`text` with placeholders like <ip> for what is private.

    `names` are those of this machine and of its users, `secrets` what must not be in it whatever it looks like; `hosts`
    may stay in URLs: they are the same for everybody.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "<secret>")
    text = _URL.sub(lambda found: _url(found, hosts), text)
    text = _NAMED_SECRET.sub(lambda found: f"{found['head'] or found['bearer']}<secret>", text)
    text = _GOOGLE_KEY.sub("<token>", _TOLD_SECRET.sub(r"\1<secret>", text))
    text = _SSID.sub(lambda found: f"{found['head'] or found['bare']}<ssid>", text)
    text = _PROFILE.sub("<ssid>", text)
    text = _VOICE.sub("<name>", text)
    text = _EMAIL.sub("<email>", text)
    text = _MAC_OTHER.sub("<mac>", _MAC.sub("<mac>", text))
    text = _IPV6.sub(lambda found: _address(found[0]), text)
    text = _LABELLED_IPV6.sub(lambda found: found["label"] + _address(found["address"]), text)
    text = _IPV4.sub(lambda found: _address(found[0]), text)
    text = _LOCAL.sub("<host>", text)
    text = _HOME.sub("<user>", text)
    for name in sorted((one for one in names if len(one) > 1 and one.lower() not in _KNOWN), key=len, reverse=True):
        text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", "<name>", text, flags=re.IGNORECASE)
    return _NUMBER.sub("<id>", _RUN.sub(_token, _UUID.sub("<id>", text)))


def _url(found: "re.Match[str]", hosts: Collection[str]) -> str:
    """Without user, query and fragment, and without a host of its owner's."""
    where, query, _ = _parted(found["rest"])
    host, slash, path = where.rpartition("@")[2].partition("/")
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        name = ""
    shown = host if name in hosts or name == "localhost" or _is_ours(name) else "<host>"
    return f"{found['scheme']}://{shown}{slash}{path}{'?…' if query else ''}"


def _parted(rest: str) -> tuple[str, str, str]:
    match = re.match(r"([^?#]*)([?#]?)(.*)", rest, re.DOTALL)
    return (match[1], match[2], match[3]) if match else (rest, "", "")


def _is_ours(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _address(text: str) -> str:
    """Addresses of this machine for itself tell nothing, and what only looks like one is left."""
    end = len(text.rstrip(":")) if text.endswith(":") and not text.endswith("::") else len(text)
    try:
        address = ipaddress.ip_address(text[:end].partition("%")[0])
    except ValueError:
        return "<ip>" if text.count(".") == 3 else text
    if address.is_loopback or address.is_unspecified:
        return text
    return f"<ip>{text[end:]}"


def _token(found: "re.Match[str]") -> str:
    return "<token>" if _is_random(found[0]) else found[0]


def _is_random(run: str) -> bool:
    """Whether letters and digits are mixed as in a key, not as in the names that programs and parts have."""
    longest = max(re.split("[_-]", run), key=len)
    if len(longest) >= 16 and not longest.islower() and not _WORDS.fullmatch(longest):
        return longest.isdigit() or not longest.isalpha() or not longest.isupper()
    if len(longest) >= 16 and any(letter.isdigit() for letter in longest):
        return _changes(longest) >= 3
    separators = len(run) - len(re.sub("[_-]", "", run))
    return len(run) >= 32 and separators <= 0.15 * len(run) and _changes(run) >= 0.25 * len(run)


def _changes(run: str) -> int:
    """How often it goes from small letters to capitals or digits, and back."""
    kinds = [letter.isdigit() + 2 * letter.isupper() for letter in run]
    return sum(before != after for before, after in itertools.pairwise(kinds))
