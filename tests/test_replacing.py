"""A file that is replaced: whole, or not at all."""

import pytest

from device.replacing import replacing


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "voice.npz"
    path.write_text("old")
    return path


def test_what_was_written_takes_its_place_at_the_end_and_nothing_else_stays(path):
    with replacing(path) as fresh:
        fresh.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(path.parent.iterdir()) == [path]


def test_what_fails_half_way_leaves_the_old_one_and_nothing_else(path):
    with pytest.raises(ZeroDivisionError), replacing(path) as fresh:
        fresh.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]


def test_what_was_never_written_leaves_the_old_one(path):
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_text() == "old"


def test_a_place_that_may_not_be_written_is_said_and_not_what_comes_of_it(tmp_path):
    with pytest.raises(NotADirectoryError), replacing(tmp_path / "file" / "voice.npz") as fresh:
        (tmp_path / "file").touch()
        fresh.write_text("new")
