"""One HTTP request, for a credential or a sign of life, whose every wait has a limit."""

import http.client
import time
from urllib.parse import urlsplit

from device.checks import public_url
from device.errors import NetworkError
from device.session.protocol import Answer, Post
from device.session.transport import CONNECT_S, Told, failure, nobody, open_transport

LARGEST_ANSWER = 256 * 1024
"""Bytes. A token has a few thousand."""


class DeniedError(Exception):
    """The server answered with a status that is no success."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"HTTP {answer.status}")
        self.answer = answer


def send(post: Post, told: Told = nobody) -> bytes:
    """Send the request; the body of the answer. Redirections are not followed: the key is for this server.

    Raises:
        NetworkError, RefusedError: there is no answer.
        DeniedError: the answer is no success.
    """
    parts = urlsplit(post.url)
    try:
        transport = open_transport(post.url, told)
        try:
            connection = http.client.HTTPConnection(parts.netloc)
            connection.sock = transport
            transport.until = time.monotonic() + CONNECT_S
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
            connection.request("POST", path, post.body, {**headers, **post.headers})
            # Not by `getresponse`, which may close the transport before the body is read.
            response = http.client.HTTPResponse(transport, method="POST")  # type: ignore[arg-type]
            response.begin()
            body = response.read(LARGEST_ANSWER)
        finally:
            transport.close()
    except http.client.RemoteDisconnected as error:
        raise failure(error, post.url) from None
    except http.client.HTTPException:
        where = public_url(post.url)
        raise NetworkError("server_fault", f"What answers at {where} does not speak HTTP.") from None
    except Exception as error:
        raise failure(error, post.url) from None
    if 200 <= response.status < 300:
        return body
    raise DeniedError(
        Answer(response.status, body, public_url(post.url), retry_after(response.headers.get("Retry-After")))
    )


def retry_after(value: str | None) -> float | None:
    """Seconds, where the header gives a plausible number of them (RFC 9110 §10.2.3; its dates are not understood)."""
    return float(value) if value and value.isdecimal() and len(value) <= 5 else None
