"""install.sh on a machine of working fakes: its apt, dpkg and Python do to a directory what real ones do to a system."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # whole runs of a script, each with a machine made for it

ROOT = Path(__file__).parent.parent
TOOLS = (
    "awk bash cat chmod cp cut dirname echo env find flock grep head ln mkdir mktemp readlink rm sed "
    "sha256sum tail tr xargs"
)
PACKAGES = [
    "python3-venv",
    "python3-pyaudio",
    "pulseaudio-utils",
    "libasound2-plugins",
    "espeak-ng",
    "flite",
    "pulseaudio",
    "iproute2",
    "openssl",
    "shellcheck",
    "bats",
    "device-tree-compiler",
    "systemd",
    "debootstrap",
    "qemu-system-x86",
    "qemu-user-static",
    "binfmt-support",
    "e2fsprogs",
    "dosfstools",
    "mtools",
]

DPKG_QUERY = r"""
format=${2#-f=} code=0
for name in "${@:3}"; do
    if grep -qx "$name" "$MACHINE/installed"; then
        line=${format//'${Package}'/$name}
        printf "${line//'${db:Status-Status}'/installed}"
    else
        code=1
    fi
done
exit $code
"""
APT_GET = r"""
echo "apt-get $*" >>"$MACHINE/calls"
if [[ -f $MACHINE/apt_says ]]; then cat "$MACHINE/apt_says"; exit 100; fi
if [[ " $* " == *" install "* ]]; then
    for word in "${@:2}"; do [[ $word == -* ]] || echo "$word" >>"$MACHINE/installed"; done
fi
"""
# As /usr/bin/python3 it makes a .venv whose python is itself; as that, it is pip.
PYTHON = r"""
case "$*" in
    -V) echo "Python 3.9.2" ;;
    "-c import sys; sys.exit"*) [[ ! -f $MACHINE/python_is_old ]] ;;
    *wake.streaming)
        echo "python $*" >>"$MACHINE/calls"
        if [[ -f $MACHINE/no_network ]]; then cat "$MACHINE/no_network"; exit 1; fi
        mkdir -p "${0%/bin/*}/share/earshot"; echo >"${0%/bin/*}/share/earshot/wake-1.onnx" ;;
    *"-m venv"*) mkdir -p "${@: -1}/bin"; cp "$0" "${@: -1}/bin/python" ;;
    *) echo "python $*" >>"$MACHINE/calls"; env >"$MACHINE/pip_env"
       if [[ -f $MACHINE/pip_says ]]; then cat "$MACHINE/pip_says"; exit 1; fi ;;
esac
"""


class Machine:
    """A checkout at `here`, and the system around it. Levers are files in `state`; `calls` is the recording."""

    def __init__(self, root: Path) -> None:
        self.state, self.bin, self.here = root / "state", root / "bin", root / "a check out"
        for directory in (self.state, self.bin, self.here / "tests", self.here / "device/install"):
            directory.mkdir(parents=True)
        self.has(*PACKAGES)
        for script in ("install.sh", "device/install/flash.sh"):
            shutil.copy(ROOT / script, self.here / script)
        (self.here / "pyproject.toml").write_text("[project]\n")
        (self.here / "tests/requirements.lock").write_text("numpy==1\n")
        for tool in TOOLS.split():
            (self.bin / tool).symlink_to(f"/usr/bin/{tool}")
        self.program("dpkg-query", DPKG_QUERY)
        self.program("apt-get", APT_GET)
        self.program(
            "apt-cache", 'if [[ $1 == depends ]]; then printf "  Depends: %s\\n" libtdb1 flite; else exit 1; fi'
        )
        self.program("dpkg", "echo amd64")
        self.program("sync", "")
        self.program("id", "echo 0")
        self.program("df", "printf 'head\\n/dev/root 9 9 9999 1%% /\\n'")
        self.program("python3", PYTHON)

    def program(self, name: str, script: str) -> None:
        (self.bin / name).unlink(missing_ok=True)  # a link to the machine's own, which must not be written to
        (self.bin / name).write_text(f"#!/bin/bash\n{script}\n")
        (self.bin / name).chmod(0o755)

    def has(self, *packages: str) -> None:
        (self.state / "installed").write_text("\n".join(packages) + "\n")

    @property
    def calls(self) -> str:
        path = self.state / "calls"
        return path.read_text() if path.exists() else ""

    @property
    def stamp(self) -> Path:
        return self.here / ".venv/stamp"

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL, **env: str) -> "subprocess.Popen[str]":
        """install.sh as it is, but for the path of Debian's Python."""
        script = 'source "$1"; shift; python=$FAKE_PYTHON; main "$@"'
        return subprocess.Popen(
            ["/bin/bash", "-c", script, "bash", str(self.here / "install.sh"), *arguments],
            env={"PATH": str(self.bin), "MACHINE": str(self.state), "FAKE_PYTHON": str(self.bin / "python3"), **env},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, **env: str) -> tuple[int, str]:
        process = self.start(*arguments, **env)
        output, _ = process.communicate(timeout=20)
        return process.returncode, output

    def prepare(self) -> None:
        code, output = self.run("--dev")
        assert code == 0, output
        (self.state / "calls").unlink()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_shellcheck_finds_nothing() -> None:
    scripts = [ROOT / "install.sh", ROOT / "tests/run", ROOT / ".ci/run"]
    functions = sorted(ROOT.glob("tests/install/*.bats"))
    command = ["shellcheck", "-x", *map(str, scripts + functions)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert all(os.access(script, os.X_OK) for script in scripts)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--help"], 0, "Usage:"),
        ([], 1, "sudo ./install.sh\n"),
        (["--update", "--yes"], 1, "sudo ./install.sh --update --yes\n"),
        (["--root", "/", "--dry-run"], 1, "sudo ./install.sh --root / --dry-run\n"),
        (["--uninstall", "--purge", "--dry-run"], 2, "--dry-run is for an installation or --update"),
        (["--flash"], 2, "There is no option --flash: see ./install.sh --help"),
        (["demo"], 2, "There is no option demo: see ./install.sh --help"),
        (["--board"], 2, "--board needs a word after it"),
        (["--purge"], 2, "--purge belongs to --uninstall."),
        (["--dev", "more"], 2, "Usage:"),
    ],
)
def test_words_that_cannot_be_followed_are_answered_and_touch_nothing(
    machine: Machine, words: list[str], code: int, said: str
) -> None:
    machine.program("id", "echo 1000")
    returned, output = machine.run(*words)
    assert returned == code
    assert said in output
    assert machine.calls == ""
    assert not (machine.here / ".venv").exists()


def test_it_finds_its_checkout_from_anywhere_and_by_a_link(machine: Machine, tmp_path: Path) -> None:
    link = tmp_path / "link.sh"
    link.symlink_to(machine.here / "install.sh")
    done = subprocess.run(
        ["/bin/bash", "-c", 'source "$1"; echo "$venv"', "bash", link],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stdout == f"{machine.here}/.venv\n"
    done = subprocess.run([link, "--purge"], cwd="/", capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert "--purge belongs to --uninstall." in done.stderr, "it has read flash.sh"


def test_only_missing_packages_are_installed_after_reading_the_lists(machine: Machine) -> None:
    machine.has(*[name for name in PACKAGES if name not in ("flite", "openssl")])
    code, output = machine.run("--dev")
    assert code == 0, output
    update, install = [line for line in machine.calls.splitlines() if line.startswith("apt-get")]
    assert update.endswith(" update")
    assert install.endswith(" install --no-install-recommends --no-remove flite openssl")
    assert "flite               the voices" in output


def test_the_demo_needs_no_tools_of_the_tests(machine: Machine) -> None:
    machine.has(*[name for name in PACKAGES if name not in ("shellcheck", "openssl")])
    machine.run("--demo")
    assert "apt-get" not in machine.calls


def test_a_second_run_says_and_calls_nothing(machine: Machine) -> None:
    machine.prepare()
    assert machine.run("--dev") == (0, "")
    assert machine.calls == ""


def test_the_demo_gets_the_options_behind_it(machine: Machine) -> None:
    machine.prepare()
    earshot = machine.here / ".venv/bin/earshot"
    earshot.write_text("#!/bin/bash\nprintf '%s;' \"$@\"\nexit 7\n")
    earshot.chmod(0o755)
    assert machine.run("--demo", "--real", "--out", "my room") == (7, "demo;--real;--out;my room;")


def test_without_rights_it_says_what_an_administrator_has_to_run(machine: Machine) -> None:
    machine.has(*[name for name in PACKAGES if name not in ("espeak-ng", "flite")])
    machine.program("id", "echo 1000")
    machine.program("sudo", "exit 1")
    code, output = machine.run("--dev")
    assert code == 1
    assert "apt-get update && apt-get install --no-install-recommends espeak-ng flite\n" in output
    assert machine.calls == ""


def test_with_sudo_it_installs_by_sudo(machine: Machine) -> None:
    machine.has(*[name for name in PACKAGES if name != "flite"])
    machine.program("id", "echo 1000")
    machine.program("sudo", 'if [[ $1 == -n ]]; then exit 0; fi; echo sudo >>"$MACHINE/calls"; exec "$@"')
    code, output = machine.run("--dev")
    assert code == 0, output
    assert machine.calls.startswith("sudo\napt-get")


def test_a_desktop_with_pipewire_keeps_it(machine: Machine) -> None:
    machine.has("pipewire-alsa", *[name for name in PACKAGES if name not in ("pulseaudio", "flite")])
    code, output = machine.run("--dev")
    install = next(line for line in machine.calls.splitlines() if " install --no-install-recommends" in line)
    assert install.endswith(" --no-remove flite libtdb1")
    assert machine.calls.endswith("apt-get download pulseaudio\n")
    assert code == 1, output  # the fake downloads nothing


@pytest.mark.parametrize(
    ("apt_says", "advice"),
    [
        ("E: Failed to fetch http://deb/x  Temporary failure resolving 'deb'", "The network failed."),
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "The disk is full."),
        ("E: Packages need to be removed but remove is disabled.", "apt-get --simulate install"),
        ("E: Could not get lock /var/lib/dpkg/lock-frontend.", "Another program is installing packages."),
        ("E: Something new", "The lines above say what went wrong."),
    ],
)
def test_a_failure_of_apt_ends_in_advice(machine: Machine, apt_says: str, advice: str) -> None:
    machine.has()
    (machine.state / "apt_says").write_text(apt_says + "\n")
    code, output = machine.run("--dev")
    assert code == 1
    assert f"  | {apt_says}\n" in output
    assert advice in output.splitlines()[-1]


@pytest.mark.parametrize(
    ("pip_says", "advice"),
    [
        ("NewConnectionError: Failed to establish a new connection: [Errno -3]", "The network failed."),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "The disk is full.",
        ),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "changed or damaged"),
    ],
)
def test_a_failure_of_pip_ends_in_advice_and_the_next_run_completes_it(
    machine: Machine, pip_says: str, advice: str
) -> None:
    (machine.state / "pip_says").write_text(pip_says + "\n")
    code, output = machine.run("--dev")
    assert code == 1
    assert advice in output.splitlines()[-1]
    assert not machine.stamp.exists()
    (machine.state / "pip_says").unlink()
    assert machine.run("--dev")[0] == 0
    assert machine.stamp.exists()


def test_a_venv_without_a_stamp_is_made_anew(machine: Machine) -> None:
    machine.prepare()
    machine.stamp.unlink()
    half_installed = machine.here / ".venv/half installed"
    half_installed.write_text("")
    assert machine.run("--dev")[0] == 0
    assert not half_installed.exists()


@pytest.mark.parametrize("name", ["tests/requirements.lock", "pyproject.toml"])
def test_a_change_of_what_is_wanted_is_installed_into_the_same_venv(machine: Machine, name: str) -> None:
    machine.prepare()
    kept = machine.here / ".venv/kept"
    kept.write_text("")
    (machine.here / name).write_text("changed\n")
    assert machine.run("--dev")[0] == 0
    assert "--require-hashes" in machine.calls
    assert "--ignore-installed" not in machine.calls, "pip has to take away what it replaces"
    assert kept.exists()


def test_a_venv_in_which_a_change_failed_is_made_anew(machine: Machine) -> None:
    machine.prepare()
    half_changed = machine.here / ".venv/half changed"
    half_changed.write_text("")
    (machine.here / "tests/requirements.lock").write_text("changed\n")
    (machine.state / "pip_says").write_text("stopped\n")
    assert machine.run("--dev")[0] == 1
    (machine.state / "pip_says").unlink()
    assert machine.run("--dev")[0] == 0
    assert not half_changed.exists()


def test_the_wake_word_network_is_made_once_and_again_when_what_makes_it_was_changed(machine: Machine) -> None:
    machine.run("--dev")
    assert machine.calls.count("wake.streaming") == 1
    assert machine.run("--dev") == (0, "")
    graph = machine.here / "device/hearing/wake/graph.py"
    graph.parent.mkdir(parents=True)
    graph.touch()
    network = machine.here / ".venv/share/earshot/wake-1.onnx"
    os.utime(network, (1, 1))
    assert machine.run("--dev")[0] == 0
    assert machine.calls.count("wake.streaming") == 2
    (machine.here / "pyproject.toml").write_text("changed\n")
    assert machine.run("--dev")[0] == 0
    assert machine.calls.count("wake.streaming") == 3


def test_a_network_that_cannot_be_made_spoils_nothing_and_is_tried_again(machine: Machine) -> None:
    (machine.state / "no_network").write_text("onnx is broken\n")
    code, output = machine.run("--dev")
    assert code == 0 and machine.stamp.exists()
    assert "  | onnx is broken\n" in output and "five times as much" in output
    kept = machine.here / ".venv/kept"
    kept.touch()
    (machine.state / "no_network").unlink()
    assert machine.run("--dev")[0] == 0
    assert kept.exists() and machine.calls.count("wake.streaming") == 2
    assert machine.run("--dev") == (0, "")


def test_a_moved_checkout_gets_a_new_venv(machine: Machine) -> None:
    machine.prepare()
    (machine.here / ".venv/old").write_text("")
    machine.here = machine.here.rename(machine.here.parent / "moved")
    assert machine.run("--dev")[0] == 0
    assert not (machine.here / ".venv/old").exists()


def test_pip_hears_where_its_index_is_and_nothing_else(machine: Machine) -> None:
    elsewhere = {"PIP_USER": "1", "PIP_TARGET": "/x", "PIP_NO_BINARY": ":all:", "PYTHONPATH": "/x", "PYTHONHOME": "/x"}
    machine.run("--dev", PIP_INDEX_URL="https://index", PIP_CERT="/cert", **elsewhere)
    heard = (machine.state / "pip_env").read_text()
    assert "PIP_INDEX_URL=https://index\n" in heard
    assert "PIP_CERT=/cert\n" in heard
    assert not [name for name in elsewhere if f"{name}=" in heard]
    assert (
        "pip --no-input install --no-user --progress-bar off --no-compile --no-deps --require-hashes --only-binary :all:"
        in machine.calls
    )


def test_a_fresh_venv_takes_no_package_of_debian_for_its_own(machine: Machine) -> None:
    machine.run("--dev")
    assert machine.calls.count("--ignore-installed") == 1


def test_it_waits_for_a_run_that_is_at_work(machine: Machine) -> None:
    at_work = os.open(machine.here, os.O_RDONLY)
    fcntl.flock(at_work, fcntl.LOCK_EX)
    process = machine.start("--dev")
    assert process.stdout is not None
    assert process.stdout.readline() == "Another run is at work here; waiting for it to end.\n"
    assert machine.calls == ""
    os.close(at_work)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output


def test_a_system_without_apt_is_told_what_is_needed(machine: Machine) -> None:
    (machine.bin / "apt-get").unlink()
    code, output = machine.run("--dev")
    assert code == 1
    assert "Earshot needs Debian 12 or newer" in output


def test_a_32_bit_system_is_told_to_become_a_64_bit_one(machine: Machine) -> None:
    machine.program("dpkg", "echo armhf")
    code, output = machine.run("--dev")
    assert code == 1
    assert "64-bit Raspberry Pi OS" in output


def test_an_old_python_is_refused_before_anything_is_installed(machine: Machine) -> None:
    machine.has()
    (machine.state / "python_is_old").write_text("")
    code, output = machine.run("--dev")
    assert code == 1
    assert "needs Python 3.11 or newer" in output
    assert machine.calls == ""


def test_a_small_disk_is_refused_before_anything_is_installed(machine: Machine) -> None:
    machine.has()
    machine.program("df", "printf 'head\\n/dev/root 9 9 300 1%% /\\n'")
    code, output = machine.run("--dev")
    assert code == 1
    assert "Only 300 MB are free" in output
    assert machine.calls == ""
