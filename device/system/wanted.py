"""Whether this machine's own agent is the one in the settings: exit code 0, else 1. ExecCondition= of earshot-agent.service."""

import sys

from device.config import load
from device.errors import EarshotError


def main() -> int:
    """The exit code; 1 for settings that cannot be used too: the speaker says what is wrong with them."""
    try:
        return 0 if load(None).agent.protocol == "local" else 1
    except EarshotError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
