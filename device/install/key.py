"""The API key: from the owner's hands into the store from which systemd hands it to the speaker."""

from device.errors import UsageError
from device.install.places import Places
from device.install.system import write


def keep(text: str, places: Places) -> bool:
    """Store the key; whether it is another than before.

    Raises:
        UsageError: it is no key. It is not shown.
        OSError: the disk is full, or may not be written.
    """
    key = text.strip()
    if not key:
        raise UsageError("The key is empty.")
    if not all("!" <= letter <= "~" for letter in key):
        raise UsageError("The key holds a space, a line break or another character that no key has.")
    places.key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return write(places.key, f"{key}\n".encode(), 0o600)
