"""The first start after an installation, at which the speaker says that it is ready."""

import os

import pytest

from device.system.process import is_first_start


@pytest.fixture
def state(tmp_path):
    (tmp_path / "greet").touch()
    return tmp_path


def test_the_first_start_is_one_and_the_next_is_not(state):
    environ = {"STATE_DIRECTORY": str(state)}
    assert is_first_start(environ)
    assert list(state.iterdir()) == []
    assert not is_first_start(environ)


def test_of_several_state_directories_it_is_the_first(state):
    assert is_first_start({"STATE_DIRECTORY": f"{state}:/nowhere"})


def test_without_a_service_manager_no_start_is_the_first(state, monkeypatch):
    monkeypatch.chdir(state)
    assert not is_first_start({})
    assert not is_first_start({"STATE_DIRECTORY": ""})
    assert (state / "greet").exists()


def test_a_greeting_that_cannot_be_taken_away_is_none(state, monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "unlink", refuse)
    assert not is_first_start({"STATE_DIRECTORY": str(state)})
    assert not is_first_start({"STATE_DIRECTORY": "/nowhere"})
