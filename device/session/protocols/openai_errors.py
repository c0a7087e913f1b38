"""What OpenAI's errors mean: objects with `code`, `type` and `message`, in messages, in failed responses and over HTTP. Pure.

`name` is the agent's, `said` the error's message, tidied.
"""

from collections.abc import Mapping
from typing import Any

from device.errors import NetworkError, RefusedError, SessionError

HOPELESS = {
    "insufficient_quota": "no_credit",
    "billing_hard_limit_reached": "no_credit",
    "invalid_api_key": "key_refused",
    "account_deactivated": "key_refused",
    "model_not_found": "not_found",
}
"""Those that another connection does not mend, and what they are to us."""
_SENTENCES = {
    "no_credit": "says that the account has no credit left",
    "key_refused": "refuses the API key",
    "not_found": "has no such model (agent.agent_id)",
}


def verdict(name: str, error: Mapping[str, Any], said: str) -> SessionError | None:
    """What an error means that ends the session; None if it does not. Some have their name in `type`, and no code."""
    for kind in (error.get("code"), error.get("type")):
        if kind == "session_expired":
            return NetworkError("connection_lost", f"{name} lets no session last longer; a new one begins.")
        if isinstance(kind, str) and (code := HOPELESS.get(kind)):
            why = f"{name} {_SENTENCES[code]} ({kind})"
            # What it says of a key holds parts of that key.
            return RefusedError(code, f"{why}." if code == "key_refused" else f"{why}: {said}")
    return None


def unready(name: str, error: Mapping[str, Any], said: str) -> SessionError:
    """What any other means before the session is ready: that it will not be."""
    if error.get("type") == "invalid_request_error":
        return refused(name, said)
    code = "server_busy" if error.get("code") == "rate_limit_exceeded" else "server_fault"
    return NetworkError(code, f"{name}: {said}")


def refused(name: str, said: str) -> RefusedError:
    """It cannot do what we ask for, and we ask for nothing but what the settings say."""
    return RefusedError("options_refused", f"{name} refuses the settings: {said} See agent.options and agent.url.")
