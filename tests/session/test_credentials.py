"""Where the API key comes from, and that nobody sees it."""

import copy
import io
import json
import logging
import os
import pickle
import traceback

import pytest

from device.config import Agent
from device.errors import ConfigError
from device.session.credentials import Secret, api_key

KEY = "sk-hunter2"


@pytest.fixture
def credentials(tmp_path):
    """A directory as systemd passes it."""
    directory = tmp_path / "credentials"
    directory.mkdir()
    return directory


@pytest.fixture
def key_file(tmp_path):
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    file.chmod(0o600)
    return file


def value(key):
    return key.value.reveal()


def test_without_any_key_there_is_none():
    key = api_key(Agent(), {})
    assert key.value is None and key.source == "none is set"


def test_who_may_read_the_store_of_the_installation_finds_it_there_at_last(tmp_path, key_file):
    stored = tmp_path / "earshot.api-key"
    assert api_key(Agent(), {}, stored).value is None
    stored.write_text("of-store\n")
    stored.chmod(0o600)
    key = api_key(Agent(), {}, stored)
    assert value(key) == "of-store" and key.source == f"from {stored}"
    assert value(api_key(Agent(api_key_file=str(key_file)), {}, stored)) == KEY


def test_the_systemd_credential_comes_first_then_the_environment_then_the_file(credentials, key_file):
    (credentials / "api-key").write_text("of-systemd\n")
    environ = {"CREDENTIALS_DIRECTORY": str(credentials), "EARSHOT_API_KEY": "of-environment"}
    agent = Agent(api_key_file=str(key_file))

    key = api_key(agent, environ)
    assert (value(key), key.source) == ("of-systemd", "from the systemd credential api-key")
    (credentials / "api-key").unlink()
    key = api_key(agent, environ)
    assert (value(key), key.source) == ("of-environment", "from EARSHOT_API_KEY")
    key = api_key(agent, {**environ, "EARSHOT_API_KEY": " "})
    assert (value(key), key.source) == (KEY, f"from {key_file}")


def test_the_systemd_credential_may_have_a_group(credentials):
    (credentials / "api-key").write_text(KEY)
    (credentials / "api-key").chmod(0o440)
    assert value(api_key(Agent(), {"CREDENTIALS_DIRECTORY": str(credentials)})) == KEY


def test_white_space_and_a_byte_order_mark_around_the_key_are_not_part_of_it(key_file):
    key_file.write_bytes(b"\xef\xbb\xbf  sk-hunter2 \r\n\n")
    assert value(api_key(Agent(api_key_file=str(key_file)), {})) == KEY
    assert value(api_key(Agent(), {"EARSHOT_API_KEY": f" {KEY}\n"})) == KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_key_file_that_is_open_to_others_is_refused(key_file, mode):
    key_file.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {key_file}"):
        api_key(Agent(api_key_file=str(key_file)), {})


def test_a_key_file_that_is_missing_empty_or_no_file_is_refused(tmp_path, key_file):
    fifo, loop = tmp_path / "fifo", tmp_path / "loop"
    os.mkfifo(fifo, 0o600)
    loop.symlink_to(loop)
    key_file.write_text("\n")
    for path, why in [
        (tmp_path / "none", "does not exist"), (key_file, "is empty"), (tmp_path, "is not a file"),
        (fifo, "is not a file"), (loop, "cannot be read"),
    ]:  # fmt: skip
        with pytest.raises(ConfigError, match=f"agent.api_key_file {path} {why}"):
            api_key(Agent(api_key_file=str(path)), {})


def test_an_empty_systemd_credential_is_a_mistake_and_not_passed_over(credentials):
    (credentials / "api-key").touch()
    with pytest.raises(ConfigError, match="api-key is empty"):
        api_key(Agent(), {"CREDENTIALS_DIRECTORY": str(credentials), "EARSHOT_API_KEY": KEY})


@pytest.mark.parametrize("wrong", ["sk hunter2", "sk\nhunter2", "sk\x00hunter2", "sk\thunter2", "schlüssel-hunter2"])
def test_a_key_with_what_no_key_has_is_refused_without_being_shown(wrong, key_file):
    key_file.write_text(wrong)
    for agent, environ in [(Agent(), {"EARSHOT_API_KEY": wrong}), (Agent(api_key_file=str(key_file)), {})]:
        with pytest.raises(ConfigError, match="another character that no API key has") as refused:
            api_key(agent, environ)
        assert "hunter2" not in "".join(traceback.format_exception(refused.value))


def test_a_key_file_of_noise_is_refused(key_file):
    key_file.write_bytes(bytes(range(256)))
    with pytest.raises(ConfigError):
        api_key(Agent(api_key_file=str(key_file)), {})


def test_a_secret_does_not_show_itself():
    secret = Secret(KEY)
    page = io.StringIO()
    logger = logging.Logger("test")
    logger.addHandler(logging.StreamHandler(page))
    logger.warning("%s %r", secret, [secret])
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", "%s" % secret, repr({"key": secret})]  # noqa: UP031
    shown += [page.getvalue(), repr(api_key(Agent(), {"EARSHOT_API_KEY": KEY}))]
    assert all("***" in text and "hunter2" not in text for text in shown)
    assert not hasattr(secret, "__dict__")
    assert secret.reveal() == KEY


def test_a_secret_cannot_be_pickled_copied_or_made_json():
    for leak in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError) as refused:
            leak(Secret(KEY))
        assert "hunter2" not in str(refused.value)
