"""When the built-in agent is started along with the speaker."""

import pytest

from device import config
from device.system import wanted


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ("", 0),
        ('[agent]\nprotocol = "local"', 0),
        ('[agent]\nprotocol = "datagrid"', 1),
        ('[agent]\nprotocol = "nonsense"', 1),
        ("[agent", 1),
    ],
)
def test_the_agent_is_wanted_where_the_settings_name_it(tmp_path, monkeypatch, settings, code):
    path = tmp_path / "earshot.toml"
    path.write_text(settings)
    monkeypatch.setattr(config, "DEFAULT_PATH", path)
    assert wanted.main() == code


def test_it_is_wanted_where_there_are_no_settings(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "DEFAULT_PATH", tmp_path / "earshot.toml")
    assert wanted.main() == 0
