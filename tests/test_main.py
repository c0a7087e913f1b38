"""The command line as its user sees it: help, exit codes, mistakes, and no secret anywhere."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import wave
from argparse import Namespace

import pytest

from device import __version__
from device.errors import ConfigError
from device.hearing.models import bundled
from device.system.control import Control
from device.worker import Worker, stop_all
from tests.fakes import Recorder, said, silence

pytestmark = pytest.mark.slow  # each a whole process

TOKEN = "a-very-secret-token"
COMMANDS = ("run", "demo", "agent", "check", "config", "devices", "wake", "status", "say", "stop")


@pytest.fixture
def earshot(tmp_path):
    """Runs the command; no output of any run may hold the token. Nothing of this machine's settings is used."""

    def run(*arguments, code=0, key=TOKEN, **environ):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("EARSHOT", "CREDENTIALS"))}
        runtime = tmp_path / "runtime"
        runtime.mkdir(exist_ok=True)
        clean |= {"XDG_RUNTIME_DIR": str(runtime), "PULSE_SERVER": f"unix:{tmp_path}/nobody", **environ}
        clean |= {"EARSHOT_API_KEY": key} if key else {}
        done = subprocess.run(
            [sys.executable, "-m", "device", *map(str, arguments)],
            env=clean, capture_output=True, text=True, timeout=60, cwd=tmp_path,
        )  # fmt: skip
        assert TOKEN not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert done.returncode == code, done.stderr
        return done

    return run


@pytest.fixture
def settings(tmp_path):
    """Writes a file of settings."""

    def write(text):
        path = tmp_path / "earshot.toml"
        path.write_text(text)
        return path

    return write


def test_help_lists_every_command(earshot):
    shown = earshot("--help").stdout
    assert all(f"    {command} " in shown for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(earshot, command):
    shown = earshot(command, "--help").stdout
    assert shown.startswith(f"usage: earshot {command}") and "--config FILE" in shown


def test_the_version_is_told(earshot):
    assert earshot("--version").stdout == f"earshot {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["rnu"], ["run", "--evnts"], ["wake", "x.wav", "--plot", "x.jpg"], ["config", "x"], ["agent", "--port", "x"]],
)
def test_a_wrong_command_line_is_exit_code_2(earshot, arguments):
    done = earshot(*arguments, code=2)
    assert "usage: earshot" in done.stderr and done.stdout == ""


def test_a_file_of_settings_that_does_not_exist_is_exit_code_78(earshot, tmp_path):
    for command in (["run"], ["config"], ["check"], ["wake", "x.wav"]):
        done = earshot(*command, "--config", tmp_path / "none.toml", code=78)
        assert "none.toml: there is no such file." in done.stderr and done.stdout == ""


MISTAKES = """
[microphone]
chanels = 2
[speaker]
volume = 200
[wake]
words = ["hey_jervis"]
[conversation]
barge_in = "speach"
[agnet]
url = ""
"""


@pytest.mark.parametrize("command", ["run", "config", "check"])
def test_all_mistakes_are_told_at_once_a_line_each(earshot, settings, command):
    done = earshot(command, "--config", settings(MISTAKES), code=78)
    head, *problems = done.stderr.splitlines()
    assert head == "The configuration cannot be used:" and len(problems) == 5
    for sentence in (
        "microphone.chanels is not a setting. Did you mean channels?", "speaker.volume is 200",
        "Did you mean hey_jarvis?", "Did you mean speech?", "Did you mean agent?",
    ):  # fmt: skip
        assert sentence in done.stderr


def test_mistakes_in_options_and_a_missing_key_are_told_together(earshot, settings):
    path = settings('[agent]\nprotocol = "datagrid"\noptions = { voice_mod = "x", ephemeral = 1 }\n')
    done = earshot("run", "--config", path, code=78, key=None)
    assert done.stderr.count("\n  - ") == 3 and "needs an API key" in done.stderr


def test_config_prints_what_is_in_force_and_can_be_used_again(earshot, settings):
    path = settings('[speaker]\nvolume = 33\n[agent]\noptions = { token = "a-very-secret-token" }\n')
    shown = earshot("config", "--config", path).stdout
    assert "volume = 33" in shown and "# API key: from EARSHOT_API_KEY" in shown and "***" in shown
    assert earshot("config", "--config", settings(shown)).stdout == shown


def test_config_works_without_a_file(earshot):
    assert "[microphone]" in earshot("config", key=None).stdout


def test_a_key_that_cannot_be_used_is_exit_code_78_and_not_shown(earshot, settings, tmp_path):
    earshot("config", code=78, key=f"{TOKEN} with spaces")
    key_file = tmp_path / "key"
    key_file.write_text(TOKEN)
    key_file.chmod(0o644)
    path = settings(f'[agent]\napi_key_file = "{key_file}"\n')
    assert "chmod 600" in earshot("config", "--config", path, code=78, key=None).stderr
    assert "never the key itself" in earshot(
        "config", "--config", settings(f'[agent]\napi_key_file = "{TOKEN}"\n'), code=78
    ).stderr  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [f'key = "{TOKEN}"', f'url = "wss://user:{TOKEN}@voice.example"', f'url = "ws://voice.example?token={TOKEN}"',
     f'token = "{TOKEN}"', f'url = "{TOKEN}"'],
)  # fmt: skip
def test_a_secret_in_the_wrong_place_is_refused_and_not_shown(earshot, settings, line):
    earshot("config", "-v", "--config", settings(f"[agent]\n{line}\n"), code=78)


def test_devices_are_listed_or_said_to_be_none(earshot):
    shown = earshot("devices").stdout
    assert "microphones:" in shown and "speakers:" in shown


def test_a_machine_without_the_sound_card_is_exit_code_1_and_the_names_there_are_are_told(earshot, settings, tmp_path):
    path = settings('[microphone]\ndevice = "nobody-has-this"\n[speaker]\ndevice = "nor-this"\n')
    events = tmp_path / "events.jsonl"
    done = earshot("run", "--config", path, "--events", events, code=1)
    assert "There is no microphone 'nobody-has-this'" in done.stderr or "There is no speaker 'nor-this'" in done.stderr
    written = [json.loads(line) for line in events.read_text().splitlines()]
    assert written[0]["event"] == "started" and written[-1]["event"] == "stopped"
    assert "error" in [line["event"] for line in written]


def test_an_event_log_that_cannot_be_written_is_exit_code_2(earshot, tmp_path):
    assert "event log" in earshot("run", "--events", tmp_path / "no" / "folder", code=2).stderr


def write_wav(path, sound):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(sound.tobytes())
    return path


@pytest.fixture
def wake(earshot, settings):
    """Runs `earshot wake` with the settings given; nobody is enrolled."""

    def run(*arguments, code=0, settings_text=""):
        path = settings(f'[wake]\nvoices = "/nowhere"\n{settings_text}\n')
        return earshot("wake", *arguments, "--config", path, code=code)

    return run


def test_wake_finds_the_word_in_recordings_and_says_where_there_is_none(wake, tmp_path):
    import numpy as np

    spoken = write_wav(tmp_path / "spoken.wav", np.concatenate([silence(1), said("hey jarvis"), silence(1)]))
    silent = write_wav(tmp_path / "silent.wav", silence(1))
    first, second = wake(spoken, silent).stdout.splitlines()
    found = re.fullmatch(r"(.+): hey_jarvis at (\d\.\d\d) s, score (0\.\d{3})", first)
    assert found[1] == str(spoken) and 1 < float(found[2]) < 2.5 and float(found[3]) >= 0.5
    assert second == f"{silent}: no hey_jarvis"


@pytest.mark.slow
def test_wake_draws_a_recording(wake, tmp_path):
    wake(write_wav(tmp_path / "silent.wav", silence(1)), "--plot", "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def directories(tmp_path):
    import numpy as np

    for name, sound in [("positive", np.concatenate([silence(1), said("hey jarvis")])), ("negative", silence(2))]:
        (tmp_path / name).mkdir()
        write_wav(tmp_path / name / "x.wav", sound)
    return "positive", "negative"


@pytest.mark.slow
def test_wake_evaluates_the_settings_on_two_directories_of_recordings(wake, directories, tmp_path):
    done = wake("--evaluate", *directories, "--plot", "chosen.png", settings_text="threshold = 0.625")
    assert "threshold = 0.625" in done.stdout and done.stderr == ""
    assert re.search(r"\n0\.05 +0 +0\.0 +0 +0 +0\.0 +0\n", done.stdout)
    assert re.search(r"\nin force +0 +0\.0 +0 +0 +0\.0 +0\n", done.stdout)
    assert (tmp_path / "chosen.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("name", "plot"), [("evaluation.png", []), ("chosen.png", ["--plot", "chosen.png"])])
def test_a_picture_that_cannot_be_drawn_is_told_of_before_anything_is_heard(wake, directories, tmp_path, name, plot):
    (tmp_path / name).mkdir()
    done = wake("--evaluate", *directories, *plot, code=2)
    assert done.stderr == f"earshot: {name} cannot be written: Is a directory.\n" and done.stdout == ""


def test_wake_refuses_directories_that_are_none(wake):
    done = wake("--evaluate", "nowhere", "neither", code=2)
    text = "earshot: nothing was evaluated:\n  - nowhere is no directory.\n  - neither is no directory.\n"
    assert done.stderr == text and done.stdout == ""


@pytest.mark.parametrize("arguments", [[], ["x.wav", "--evaluate", "a", "b"], ["a.wav", "b.wav", "--plot", "x.png"]])
def test_wake_without_sense_is_exit_code_2(wake, arguments):
    done = wake(*arguments, code=2)
    assert re.match(r"earshot: (wake takes recordings|--plot draws one recording)", done.stderr) and done.stdout == ""


def test_wake_refuses_what_is_no_recording_with_exit_code_2(wake, tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("hello")
    done = wake(text, code=2)
    assert done.stderr.startswith(f"earshot: {text}") and len(done.stderr.splitlines()) == 1


def test_a_wake_word_that_is_none_is_refused(wake, tmp_path):
    silent = write_wav(tmp_path / "silent.wav", silence(1))
    done = wake(silent, code=78, settings_text=f'words = ["{bundled("silero_vad.onnx")}"]')
    assert "is not a wake word" in done.stderr


def test_an_output_that_nobody_reads_is_no_error(tmp_path):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "device", "config"],
        stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, cwd=tmp_path,
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 0 and done.stderr == ""


@pytest.fixture
def echo():
    """A server that answers 401 and sends back all it was asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        asked = []

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(5)
                asked.append(connection.recv(4096))
                connection.sendall(
                    b"HTTP/1.1 401 No\r\nX-Asked: " + asked[0].split(b"\r\n")[0] + b"\r\n\r\n" + asked[0]
                )

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listener.getsockname()[1], asked
        thread.join(1)


def test_a_check_says_of_each_part_what_is_wrong_and_shows_no_key(earshot, settings, echo):
    port, asked = echo
    path = settings(
        '[microphone]\ndevice = "nobody-has-this"\n[speaker]\ndevice = "nor-this"\n'
        f'[panel]\nbutton = "none"\nlights = "none"\n[agent]\nprotocol = "datagrid"\nurl = "ws://127.0.0.1:{port}"\n'
    )
    done = earshot("check", "-v", "--config", path, code=1)
    assert TOKEN.encode() in asked[0], "the key was not even used"
    lines = {line[9:28].strip(): line[:9].strip() for line in done.stdout.splitlines()}
    assert lines.items() >= {
        "wake words": "ok", "microphone": "FAILED", "speaker": "FAILED", "lights": "skipped", "button": "skipped",
        "agent": "FAILED",
    }.items()  # fmt: skip
    assert f"ws://127.0.0.1:{port}/ws/voice refuses the API key (HTTP 401)" in done.stdout


@pytest.mark.parametrize(("user", "installed", "keyless"), [(1000, True, True), (0, True, False), (1000, False, False)])
def test_who_may_not_read_the_key_of_an_installed_speaker_checks_all_the_rest(
    settings, tmp_path, monkeypatch, user, installed, keyless
):
    from device import __main__ as command_line
    from device.system.check import command

    path = settings('[agent]\nprotocol = "datagrid"\nagent_id = "a"\n')
    checked = []
    monkeypatch.setattr(command, "check", lambda settings, key, wishes: checked.append(key.value) or 0)
    monkeypatch.setattr(command_line.os, "geteuid", lambda: user)
    monkeypatch.setattr(command_line, "Path", lambda text: tmp_path if installed else tmp_path / "nothing")
    monkeypatch.setattr(command_line.os, "environ", {})
    monkeypatch.setattr(command_line.logging, "disable", lambda level: None)
    options = Namespace(agent=False, json=False, bundle=None, verbose=False, config=path)
    if keyless:
        assert command_line._check(options) == 0 and checked == [None]
    else:
        with pytest.raises(ConfigError, match="key"):
            command_line._check(options)
        assert not checked


def test_a_second_speaker_is_refused(earshot, tmp_path):
    import fcntl

    (tmp_path / "runtime").mkdir()
    with (tmp_path / "runtime" / f"earshot-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711\n")
        lock.flush()
        assert "Earshot runs already (process 4711)" in earshot("run", code=1, RUNTIME_DIRECTORY="").stderr


@pytest.fixture
def speaker(tmp_path):
    """Something that answers where the speaker of `earshot` would: what it was asked, and the reply it gives."""
    asked, reply = [], {"ok": True}

    def answer(request):
        asked.append(request)
        return reply

    (tmp_path / "runtime").mkdir()
    path = tmp_path / "runtime" / f"earshot-{os.getuid()}.sock"
    listening = Worker("control", Control(answer, path).work, Recorder())
    listening.start()
    while not path.exists():
        assert listening.is_alive()
        listening.join(0.005)
    yield asked, reply
    assert stop_all([listening])


def test_what_is_said_in_writing_reaches_the_speaker(earshot, speaker):
    asked, _ = speaker
    done = earshot("say", "Wie spät ist es?")
    assert done.stdout == done.stderr == "" and asked == [{"order": "say", "text": "Wie spät ist es?"}]


def test_stop_reaches_the_speaker_and_its_help_says_that_the_speaker_goes_on(earshot, speaker):
    asked, _ = speaker
    earshot("stop")
    assert asked == [{"order": "stop"}]
    assert "The speaker itself goes on." in " ".join(earshot("stop", "--help").stdout.split())


@pytest.mark.parametrize("command", [["say", "hello"], ["stop"], ["status"]])
def test_what_the_speaker_refuses_is_exit_code_1_with_its_reason(earshot, speaker, command):
    _, reply = speaker
    reply |= {"ok": False, "message": "There is no session\x1b[2J."}
    done = earshot(*command, code=1)
    assert done.stderr == "earshot: There is no session [2J.\n" and done.stdout == ""


@pytest.mark.parametrize("text", ["", "  ", "x" * 2001, b"\xff"])
def test_a_text_that_cannot_be_said_is_exit_code_2(earshot, speaker, text):
    asked, _ = speaker
    done = earshot("say", os.fsdecode(text), code=2)
    assert done.stderr.startswith("earshot: ") and len(done.stderr.splitlines()) == 1 and asked == []


def test_status_is_told_to_people_in_lines_and_to_programs_as_json(earshot, speaker):
    _, reply = speaker
    reply |= {"state": "listening", "since_s": 754.2, "counters": {"wakes": 3}}
    assert earshot("status").stdout == "state  listening\nsince  12 min\nwakes  3\n"
    assert json.loads(earshot("status", "--json").stdout) == reply
    reply["ok"] = False
    assert json.loads(earshot("status", "--json", code=1).stdout) == reply
