"""What can go wrong, by what it asks of the owner of the box.

EarshotError
├── UsageError      wrong words on the command line      exit 2
├── ConfigError     wrong configuration                  exit 78, a restart does not help
├── HardwareError   a card, a pin, a file fails          exit 1, a restart may help
└── SessionError    the conversation fails, the speaker lives on
    ├── NetworkError    the agent cannot be reached now      the link tries again
    └── RefusedError    the agent does not want us           the link gives up and says why
"""


class EarshotError(Exception):
    """Any failure that is told to the owner in one sentence. `exit_code` is the process's."""

    exit_code = 1


class UsageError(EarshotError, ValueError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class ConfigError(EarshotError, ValueError):
    """The configuration cannot be used. `problems` holds every mistake, a sentence each."""

    exit_code = 78  # EX_CONFIG of sysexits.h: systemd's RestartPreventExitStatus

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class HardwareError(EarshotError, OSError):
    """A sound card, a GPIO pin or a model file cannot be used, or was lost."""


class SessionError(EarshotError):
    """A session failed. `code` is a stable name for programs, the message a sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class NetworkError(SessionError, OSError):
    """The agent cannot be reached, or the connection broke: trying again may help, in `wait_s` seconds at the earliest."""

    def __init__(self, code: str, message: str, wait_s: float | None = None) -> None:
        super().__init__(code, message)
        self.wait_s = wait_s


class RefusedError(SessionError):
    """The agent refuses us: trying again does not help."""
