"""What the protocols' messages have in common: JSON, sound as base64 in it, and addresses. Pure."""

import binascii
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlsplit

from device import checks
from device.session.protocol import MalformedError


def parsed(message: str | bytes) -> dict[str, Any]:
    """The JSON object that a message is.

    Raises:
        MalformedError: it is none.
    """
    try:
        value = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"no JSON ({type(error).__name__})") from error
    if not isinstance(value, dict):
        raise MalformedError("no JSON object")
    return value


def kind_of(fields: dict[str, Any]) -> str:
    """The `type` of a message.

    Raises:
        MalformedError: it has none.
    """
    kind = fields.get("type")
    if not isinstance(kind, str):
        raise MalformedError("no message with a type")
    return kind


def table(value: object) -> dict[str, Any]:
    """The value if it is an object, else an empty one: what is optional may be missing, null or wrong."""
    return value if isinstance(value, dict) else {}


def pcm_of(data: object) -> bytes:
    """Sound out of base64. A last odd byte is dropped: kept for the next message it would turn all that follows to noise.

    Raises:
        MalformedError: it is no base64.
    """
    if not isinstance(data, str):
        raise MalformedError("audio without data")
    try:
        pcm = binascii.a2b_base64(data, strict_mode=True)
    except ValueError as error:
        raise MalformedError("audio that is not base64") from error
    return even(pcm)


def even(pcm: bytes) -> bytes:
    """Without half a sample at its end."""
    return pcm[: len(pcm) & ~1]


def base64_of(pcm: bytes) -> str:
    """Sound as base64."""
    return binascii.b2a_base64(pcm, newline=False).decode("ascii")


def granted_url(value: object) -> str:
    """The WebSocket's address that a server sends us to: with TLS, unless it is on this machine.

    Raises:
        MalformedError: it is no such address.
    """
    if not isinstance(value, str) or not value or list(checks.url(value)):
        raise MalformedError("an address that is none, or not encrypted")
    return re.sub("^http", "ws", value)


def address(own: str, default: str, **query: str) -> str:
    """Where to connect to: scheme, host, port, path and query of `own`, and from `default` what it lacks; then `query`.

    http(s) and ws(s) mean the same; which of them it is to be, `default` says.
    """
    vendor, ours = urlsplit(default), urlsplit(own or default)
    scheme = "http" if vendor.scheme.startswith("http") else "ws"
    scheme += "s" if ours.scheme in ("https", "wss") else ""
    path = ours.path if ours.path not in ("", "/") else vendor.path
    more = [f"{name}={quote(value, safe='')}" for name, value in query.items()]
    joined = "&".join(part for part in (ours.query, *more) if part)
    return f"{scheme}://{ours.netloc}{path}" + (f"?{joined}" if joined else "")


def endpoint(base: str, scheme: str, path: str, known: Iterable[str]) -> str:
    """The address of one of the `known` paths of the server at `base`, which may have a path of its own before them.

    `base` may also be the address of one of them, as it stands in the vendor's documents.
    """
    parts = urlsplit(base)
    before = parts.path.rstrip("/")
    for other in known:
        before = before.removesuffix(other)
    return address(parts._replace(path=before + path).geturl(), f"{scheme}:")


def error_of(body: bytes) -> dict[str, Any]:
    """The JSON object that the body of an HTTP error is; an empty one if it is none."""
    try:
        return parsed(body)
    except MalformedError:
        return {}


def token_of(value: object) -> str:
    """A token that a server granted, which is to go into a message or a header.

    Raises:
        MalformedError: it is none.
    """
    if not isinstance(value, str) or not value or not (value.isascii() and value.isprintable()):
        raise MalformedError("no token")
    return value


def fields_or_pcm(message: str | bytes) -> dict[str, Any] | bytes:
    """The JSON object that a message is, or the sound, for protocols whose sound is binary.

    JSON in a binary message is taken as well: sound that happens to be an object with a type does not exist.

    Raises:
        MalformedError: it is text, and no JSON object.
    """
    if isinstance(message, str):
        return parsed(message)
    if message.startswith(b"{") and message.endswith(b"}"):
        try:
            fields = parsed(message)
        except MalformedError:
            return even(message)
        if "type" in fields:
            return fields
    return even(message)
