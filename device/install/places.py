"""Where things lie on a flashed machine. Every path is below `root`, for tests: a mounted card is entered by chroot."""

from dataclasses import dataclass
from pathlib import Path

PARTS = (
    "device",
    "services",
    "overlays",
    "install.sh",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
)
"""What of a checkout makes a release."""
SERVICE = "earshot.service"
AGENT = "earshot-agent.service"
MIXER = "earshot-mixer.service"
UNITS = (SERVICE, AGENT, MIXER)
UNDO = "earshot-undo.service"
REBOOT = Path("/run/earshot-reboot")
"""While it is there, the machine runs on other boot settings than it has."""


@dataclass(frozen=True)
class Places:
    """The paths below `root`."""

    root: Path = Path("/")

    @property
    def opt(self) -> Path:
        """All that is ours alone."""
        return self.root / "opt/earshot"

    @property
    def systemd(self) -> Path:
        """What systemd reads."""
        return self.root / "etc/systemd"

    @property
    def etc(self) -> Path:
        """What the owner may change."""
        return self.root / "etc/earshot"

    @property
    def releases(self) -> Path:
        """A directory for each, by its number."""
        return self.opt / "releases"

    @property
    def venvs(self) -> Path:
        """A Python environment for each set of pins."""
        return self.opt / "venvs"

    @property
    def current(self) -> Path:
        """Link to the release in use."""
        return self.opt / "current"

    @property
    def previous(self) -> Path:
        """Link to the one before."""
        return self.opt / "previous"

    @property
    def trial(self) -> Path:
        """While a release is on trial: a file with the number of the good one, to go back to."""
        return self.opt / "trial"

    @property
    def unsettled(self) -> Path:
        """A file that is there while something was changed, and the speaker has not been started with it."""
        return self.opt / "unsettled"

    @property
    def made(self) -> Path:
        """A file that remembers what was not here before Earshot."""
        return self.opt / "made.json"

    @property
    def settings(self) -> Path:
        """The owner's settings."""
        return self.etc / "earshot.toml"

    @property
    def board(self) -> Path:
        """A file with the name of the board."""
        return self.etc / "board"

    @property
    def key(self) -> Path:
        """The API key, in a store that systemd takes credentials from."""
        return self.root / "etc/credstore/earshot.api-key"

    @property
    def state(self) -> Path:
        """What the speaker keeps."""
        return self.root / "var/lib/earshot"

    @property
    def command(self) -> Path:
        """`earshot` on the PATH."""
        return self.root / "usr/local/bin/earshot"

    @property
    def undo(self) -> Path:
        """The unit that goes back at boot. It has to work when the release on trial does not, so it comes from a good one."""
        return self.systemd / "system" / UNDO

    def copies(self) -> dict[Path, str]:
        """Files of the system, and the files in `services/` of the release in use that they are copies of.

        No links: `systemctl disable` removes a unit that is a link, and `enable` writes down where it led.
        """
        copied = {self.systemd / "system" / unit: unit for unit in UNITS}
        for kind in ("sysusers", "tmpfiles"):
            copied[self.root / f"etc/{kind}.d/earshot.conf"] = f"{kind}.conf"
        copied[self.journald] = "journald.conf"
        return copied

    @property
    def journald(self) -> Path:
        """How the system keeps its log."""
        return self.systemd / "journald.conf.d/earshot.conf"

    def wanted(self) -> dict[Path, str]:
        """Links that have units started at boot, as `systemctl enable` makes them."""
        wants = self.systemd / "system/multi-user.target.wants"
        return {wants / unit: f"/etc/systemd/system/{unit}" for unit in (SERVICE, UNDO)}
