"""The API key: from the owner's hands into the store from which systemd hands it to the speaker."""

from device.errors import UsageError
from device.install.places import Places
from device.install.system import remember_directories, write


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
    is_new = not places.key.parent.exists()
    remember_directories(places, places.key)
    if is_new:
        places.key.parent.chmod(0o700)
    return write(places.key, f"{key}\n".encode(), 0o600)
