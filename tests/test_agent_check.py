"""`earshot check --agent` as its user sees it: its steps, what it says of what fails, and what the agent gets of it."""

import re
import subprocess
import sys
from http import HTTPStatus

import pytest

from tests.servers.atoms import KEY
from tests.ways import WAYS, environment

pytestmark = pytest.mark.slow  # each a whole process

STEP = re.compile(r"(ok|FAILED) +(.+?)(?: \(\d+ ms\))?")


@pytest.fixture
def check(tmp_path):
    """`earshot check --agent` for a way in to a URL: its lines without milliseconds, after the first."""

    def run(way, url, code=0, limit_s=10):
        config = tmp_path / "earshot.toml"
        config.write_text(way.tables.replace("{url}", url))
        command = [sys.executable, "-m", "device", "check", "--agent", "--config", str(config)]
        env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **environment()}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=limit_s)
        assert done.returncode == code and done.stderr == ""
        first, *lines = done.stdout.splitlines()
        assert first == f"agent {way.protocol}, key from EARSHOT_API_KEY" and KEY not in done.stdout
        return [STEP.fullmatch(line).groups() for line in lines]

    return run


NAME, TCP = ("ok", "its name is found"), ("ok", "it answers")
TLS = ("ok", "the connection is encrypted, and it is who it says it is")
TOKEN = ("ok", "it takes the key and gives a token")
FOR_TOKEN = [("ok", f"for the token: {step}") for _, step in (NAME, TCP, TLS)]
OPEN, READY = ("ok", "the connection for voice is open"), ("ok", "it is ready to hear you")


@pytest.mark.parametrize("name", WAYS)
def test_each_step_to_an_agent_that_is_well_is_told_and_no_sound_is_sent(check, name):
    way = WAYS[name]
    with way.server() as server:
        steps = check(way, server.url)
        visit = server.visit()
        assert visit.ended.wait(5)
    token = [*FOR_TOKEN, TOKEN] if "token_ms" in way.steps else []
    there = [("ok", "the service is there")] if name == "workbuddy" else []
    assert steps == [*there, *token, NAME, TCP, TLS, OPEN, READY]  # the token may come from another host
    assert len(server.visits) == 1 and visit.frames == [] and server.violations == server.trouble == []


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (HTTPStatus.OK, {"status": "down"}, "answers, but does not say that it is well."),
        (HTTPStatus.INTERNAL_SERVER_ERROR, {}, "answers HTTP 500. (server_fault)"),
    ],
)
def test_a_service_that_is_not_well_is_told(check, status, answer, said):
    with WAYS["workbuddy"].server() as server:
        server.heartbeat = status, answer
        ((mark, told),) = check(WAYS["workbuddy"], server.url, 1)
        assert mark == "FAILED" and told.endswith(said)


def test_what_the_agent_says_before_it_hangs_up_is_told(check):
    with WAYS["datagrid"].server() as server:
        server.ready_after_s = 30.0
        server.opened = lambda visit: (
            visit.send("error", code="agent_not_found", message="There is no agent a-7."),
            visit.close(1008),
        )
        *_, (mark, told) = check(WAYS["datagrid"], server.url, 1)
    assert mark == "FAILED" and told == "The agent: There is no agent a-7 (agent_not_found). (server_fault)"


def test_a_key_that_is_refused_is_told_where_it_is_and_how(check):
    with WAYS["openai"].server() as server:
        server.status = HTTPStatus.UNAUTHORIZED
        steps = check(WAYS["openai"], server.url, 1)
    said = f"wss://127.0.0.1:{server.port}/v1/realtime refuses the API key (HTTP 401). (key_refused)"
    assert steps == [NAME, TCP, TLS, ("FAILED", said)]
    assert len(server.refused) == 1


def test_a_certificate_for_another_host_is_told(check):
    with WAYS["savants"].server("wrong_host") as server:
        *steps, (mark, said) = check(WAYS["savants"], server.url, 1)
    assert mark == "FAILED" and f"https://127.0.0.1:{server.port}" in said and said.endswith("(tls_refused)")
    assert "does not prove who it is" in said and "Is the clock right?" in said
    assert steps == FOR_TOKEN[:2] and server.posts == []


def test_that_nobody_is_there_is_told(check):
    with WAYS["datagrid"].server() as server:
        pass
    *_, (mark, said) = check(WAYS["datagrid"], server.url, 1)
    assert (mark, said) == ("FAILED", f"Nobody answers at wss://127.0.0.1:{server.port}/ws/voice. (nobody_there)")


@pytest.mark.slow
def test_an_agent_that_is_never_ready_is_not_waited_for_longer_than_ten_seconds(check):
    with WAYS["atoms"].server() as server:
        server.ready_after_s = 30
        steps = check(WAYS["atoms"], server.url, 1, 15)
    said = "The agent answers, but was not ready within 10 s. (timeout)"
    assert steps == [NAME, TCP, TLS, OPEN, ("FAILED", said)] and server.visits[0].frames == []
