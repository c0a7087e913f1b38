"""What the tests of the installer share."""

from pathlib import Path

import pytest

from tests.install.machines import Machine, Power


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path / "root", monkeypatch)


@pytest.fixture
def power(monkeypatch: pytest.MonkeyPatch) -> Power:
    return Power(monkeypatch)
