"""The configuration: what it takes, and how it refuses."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device import config
from device.checks import public_url
from device.config import SECTIONS, Agent, Config, Panel, Wake, dump, load, parse
from device.errors import ConfigError


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        parse(text.encode())
    return list(refused.value.problems)


def problem(text: str) -> str:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


# --- The file -------------------------------------------------------------------------------------------------------


def test_without_a_file_the_defaults_are_in_force(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "DEFAULT_PATH", tmp_path / "earshot.toml")
    assert load(None) == Config()


def test_the_usual_file_is_read_when_none_is_named(tmp_path, monkeypatch):
    usual = tmp_path / "earshot.toml"
    usual.write_text("[speaker]\nvolume = 7\n")
    monkeypatch.setattr(config, "DEFAULT_PATH", usual)
    assert load(None).speaker.volume == 7


def test_a_named_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: there is no such file"):
        load(tmp_path / "none.toml")


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_a_file_that_the_system_will_not_read_is_refused():
    with pytest.raises(ConfigError, match="/proc/self/mem: cannot be read: Input/output error"):
        load(Path("/proc/self/mem"))


def test_text_that_is_not_utf8_is_refused_with_its_line():
    with pytest.raises(ConfigError, match="is not UTF-8 text: see line 2"):
        parse(b"[speaker]\ndevice = 'k\xfcche'\n")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm():
    assert parse(b"\xef\xbb\xbf[speaker]\r\nvolume = 7\r\n").speaker.volume == 7


def test_a_mistake_in_the_toml_is_told_with_its_line():
    assert "line 2" in problem("[speaker]\nvolume 7\n")


def test_numbers_without_end_and_bottomless_tables_are_refused():
    assert "is not TOML" in problem(f"[speaker]\nvolume = {'9' * 5000}\n")
    assert "is not TOML" in problem(f"[agent.options]\na = {'[' * 5000}\n")


def test_every_mistake_is_told_at_once_and_names_the_file(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text(
        "stray = 1\n[speeker]\nvolume = 1\n[speaker]\nvolume = 101\nchimes = 1\n[wake]\nwords = ['hey_jarvi', 5]\n"
        "[panel]\nbutton = 6\n"
    )
    with pytest.raises(ConfigError) as refused:
        load(file)
    told = refused.value.problems
    assert all(sentence.startswith(f"{file}: ") for sentence in told)
    assert [sentence.removeprefix(f"{file}: ").split()[0] for sentence in told] == [
        '"stray"', "there", "speaker.volume", "speaker.chimes", "wake.words[1]", "panel.leds",
    ]  # fmt: skip


# --- Names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("[speeker]\n", "Did you mean speaker?"),
        ("[speaker]\nvolum = 1\n", "Did you mean volume?"),
        ("[conversation]\nbarge_in = 'wakeword'\n", "Did you mean wake_word?"),
        ("[agent]\nprotocol = 'DataGrid'\n", "Did you mean datagrid?"),
        ("[panel]\nbutton = 'nome'\n", "Did you mean none?"),
        ("[wake]\nwords = ['hey jarvis']\n", "Did you mean hey_jarvis?"),
        ("[wake.thresholds]\nhey_jarvs = 0.4\n", "Did you mean hey_jarvis?"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_right_one(text, question):
    assert problem(text).endswith(question)


def test_a_name_like_no_other_is_answered_with_all_there_are():
    assert "Known are microphone, speaker" in problem("[qqqq]\n")
    assert "Known are device, rate, volume, jitter_ms, level, louder_in_noise or chimes" in problem(
        "[speaker]\nqqqq = 1\n"
    )


def test_a_setting_outside_its_section_is_told_where_it_belongs():
    assert problem("chimes = true\n") == '"chimes" stands outside any section. It belongs under [speaker].'
    assert "[microphone] or [speaker]" in problem("device = 'x'\n")


@pytest.mark.parametrize("text", ["speaker = 5\n", "[[speaker]]\nvolume = 5\n"])
def test_a_section_must_be_a_section(text):
    assert "speaker must be a section" in problem(text)


# --- Types and limits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value", "must"),
    [
        ("speaker.volume", "101", "a whole number from 0 to 100"),
        ("speaker.volume", "-1", "a whole number from 0 to 100"),
        ("speaker.volume", "60.0", "a whole number from 0 to 100"),
        ("speaker.volume", "true", "a whole number from 0 to 100"),
        ("speaker.volume", "'60'", "a whole number from 0 to 100"),
        ("speaker.jitter_ms", "19", "a whole number from 20 to 500"),
        ("speaker.chimes", "1", "true or false"),
        ("speaker.device", "1", "text"),
        ("microphone.channels", "9", "a whole number from 1 to 8"),
        ("microphone.channel", "'all'", 'a whole number from 0 to 7 or "mix"'),
        ("microphone.preroll_s", "2.1", "a number from 0 to 2"),
        ("wake.threshold", "0", "a number above 0 to 1"),
        ("wake.threshold", "nan", "a number above 0 to 1"),
        ("wake.threshold", "1979-05-27", "a number above 0 to 1"),
        ("wake.refractory_s", "31", "a number from 0 to 30"),
        ("wake.patience", "0", "a whole number from 1 to 10"),
        ("wake.patience", "1.5", "a whole number from 1 to 10"),
        ("wake.patiences", "2", "a table, each a whole number from 1 to 10"),
        ("wake.min_level_dbfs", "1", "a number from -100 to 0"),
        ("wake.min_level_dbfs", "-inf", "a number from -100 to 0"),
        ("wake.confirm_speech", "'yes'", "true or false"),
        ("wake.always_on", "1", "true or false"),
        ("wake.voices", "true", "text"),
        ("wake.words", "'alexa'", "a list, each text"),
        ("conversation.idle_s", "inf", "a number from 1 to 600"),
        ("conversation.idle_s", "1e999", "a number from 1 to 600"),
        ("conversation.max_s", "true", "a number from 10 to 86400"),
        ("conversation.max_s", f"1{'0' * 400}", "a number from 10 to 86400"),
        ("conversation.max_s", f"0x1{'0' * 9000}", "a number from 10 to 86400"),
        ("panel.button", "28", 'a whole number from 0 to 27 or "none"'),
        ("panel.lights", "'lamp'", '"leds", "rgb", "apa102" or "none"'),
        ("panel.apa102", "0", "a whole number from 1 to 64"),
        ("panel.spi", "0.0", "text"),
        ("panel.leds", "[5, 6]", "a list of 3, each a whole number from 0 to 27"),
        ("agent.options", "5", "a table"),
        ("agent.protocol", "{}", '"local", "datagrid", "atoms", "workbuddy", "savants" or "openai"'),
    ],
)
def test_a_value_of_the_wrong_kind_or_size_is_told_what_is_allowed(setting, value, must):
    section, key = setting.split(".")
    told = problem(f"[{section}]\n{key} = {value}\n")
    assert told.startswith(f"{setting} is ") and f"it must be {must}." in told
    assert len(told) < 400 and "\n" not in told


def test_each_wrong_pin_of_a_list_is_told():
    assert [one.split()[0] for one in problems("[panel]\nleds = [5, 99, 'x']\n")] == ["panel.leds[1]", "panel.leds[2]"]


def test_a_whole_number_is_fine_where_a_fraction_is_due():
    idle_s = parse(b"[conversation]\nidle_s = 9\n").conversation.idle_s
    assert idle_s == 9.0 and type(idle_s) is float


def test_an_empty_device_is_refused():
    assert "speaker.device is empty" in problem("[speaker]\ndevice = ' '\n")


# --- Settings that belong together ----------------------------------------------------------------------------------


def test_the_channel_must_be_one_of_the_channels():
    assert "channels is 2" in problem("[microphone]\nchannels = 2\nchannel = 2\n")
    assert parse(b"[microphone]\nchannels = 2\nchannel = 1\n").microphone.channel == 1
    assert parse(b"[microphone]\nchannel = 'mix'\n").microphone.channel == "mix"


def test_a_wrong_setting_makes_no_second_mistake_of_its_neighbours():
    assert problem("[microphone]\nchannels = 99\nchannel = 3\n").startswith("microphone.channels ")


def test_pins_in_use_must_differ():
    assert "panel.leds uses pin 17, but panel.button" in problem("[panel]\nleds = [5, 6, 17]\n")
    assert "panel.rgb uses pin 5, but panel.rgb" in problem("[panel]\nlights = 'rgb'\nrgb = [5, 5, 6]\n")


def test_a_button_may_not_be_on_a_pin_of_the_bus_of_the_lamps():
    bus = "[panel]\nlights = 'apa102'\n"
    assert "panel.spi uses pin 10, but panel.button" in problem(f"{bus}button = 10\n")
    assert "panel.spi uses pin 20, but panel.button" in problem(f"{bus}button = 20\nspi = '1.0'\n")
    assert parse(f"{bus}button = 20\nleds = [20, 20, 20]\n".encode()).panel.lights == "apa102"
    assert parse(b"[panel]\nbutton = 10\n").panel.button == 10


@pytest.mark.parametrize("address", ["", "0", "spidev0.0", "0.0.0", "-1.0", "0. 0", "\u0660.0", "1000.0"])
def test_the_bus_of_the_lamps_is_two_numbers(address):
    assert 'such as "0.0"' in problem(f"[panel]\nspi = '{address}'\n")


def test_pins_of_lamps_and_buttons_that_are_not_there_may_be_the_same():
    assert parse(b"[panel]\nlights = 'none'\nleds = [17, 17, 17]\n").panel.lights == "none"
    assert parse(b"[panel]\nbutton = 'none'\nleds = [17, 6, 5]\n").panel.button == "none"


def test_a_wake_word_of_ones_own_is_a_file_and_goes_by_its_name(tmp_path):
    model = tmp_path / "computer.onnx"
    model.touch()
    text = f"[wake]\nwords = ['{model}', 'alexa']\n[wake.thresholds]\ncomputer = 0.4\n"
    assert parse(text.encode()).wake == Wake(words=(str(model), "alexa"), thresholds={"computer": 0.4})


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("[]", "is empty"),
        ("['alexa', 'alexa']", "twice"),
        ("['/nowhere/my.onnx']", "no such file"),
        ("['my.onnx']", "looked for from"),
        (f"['/{'x' * 300}.onnx']", "no such file"),
        ("['banana']", "Built in are alexa"),
    ],
)
def test_wake_words_that_are_none_are_refused(words, why):
    assert why in problem(f"[wake]\nwords = {words}\n")


def test_stop_words_are_stop_or_files_or_none(tmp_path):
    model = tmp_path / "halt.onnx"
    model.touch()
    assert parse(b"").wake.stop_words == ("stop",)
    assert parse(b"[wake]\nstop_words = []\n").wake.stop_words == ()
    assert parse(f"[wake]\nstop_words = ['stop', '{model}']\n".encode()).wake.stop_words == ("stop", str(model))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("['stopp']", "Did you mean stop?"),
        ("['banana']", "which is not a stop word. Built in is stop"),
        ("['/nowhere/halt.onnx']", "no such file"),
        ("['stop', 'stop']", '"stop" twice'),
    ],
)
def test_stop_words_that_are_none_are_refused(words, why):
    assert why in problem(f"[wake]\nstop_words = {words}\n")


def test_a_word_cannot_both_wake_and_stop(tmp_path):
    file = tmp_path / "stop.onnx"
    file.touch()
    assert problem(f"[wake]\nwords = ['{file}']\n") == (
        'wake.stop_words has "stop", which is among wake.words: rename one of the files.'
    )


def test_two_files_of_one_name_cannot_be_told_apart(tmp_path):
    file = tmp_path / "alexa.onnx"
    file.touch()
    assert '"alexa" twice' in problem(f"[wake]\nwords = ['{file}', 'alexa']\n")


def test_thresholds_are_limited_and_for_words_in_use():
    assert "wake.thresholds.hey_jarvis is 2" in problem("[wake.thresholds]\nhey_jarvis = 2\n")
    assert "not among wake.words" in problem("[wake.thresholds]\nalexa = 0.5\n")


def test_patiences_are_limited_and_for_words_in_use():
    assert parse(b"[wake.patiences]\nhey_jarvis = 3\n").wake.patiences == {"hey_jarvis": 3}
    assert "wake.patiences.hey_jarvis is 11" in problem("[wake.patiences]\nhey_jarvis = 11\n")
    assert problem("[wake.patiences]\nhey_jarvs = 3\n") == (
        'wake.patiences has "hey_jarvs", which is not among wake.words. Did you mean hey_jarvis?'
    )


@pytest.mark.parametrize("path", ["", "voices", "./voices", "/voi\\nces"])
def test_the_directory_of_the_voices_does_not_depend_on_where_it_is_started(path):
    assert "wake.voices must be the absolute path of a directory" in problem(f'[wake]\nvoices = "{path}"\n')
    assert parse(b"[wake]\nvoices = '/nowhere/yet'\n").wake.voices == "/nowhere/yet"


# --- Addresses and secrets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "", "wss://voice.example.com", "HTTPS://voice.example.com:8443/v1?agent=5", "ws://localhost:8080",
        "http://127.0.0.1", "ws://[::1]:9000/x",
    ],
)  # fmt: skip
def test_good_addresses(url):
    assert parse(f"[agent]\nurl = '{url}'\n".encode()).agent.url == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("voice.example.com", "must be a URL"),
        ("ftp://voice.example.com#hunter2", "must be a URL"),
        ("wss://", "must be a URL"),
        ("wss:///path", "must be a URL"),
        ("wss://me:hunter2@voice.example.com", "user name or password"),
        ("wss://hunter2@voice.example.com", "user name or password"),
        ("ws://localhost@voice.example.com", "user name or password"),
        ("ws://voice.example.com?token=hunter2", "TLS is needed"),
        ("http://192.168.1.5", "use https"),
        ("ws://localhost.example.com", "TLS is needed"),
        ("wss://voice.example.com:hunter2", "host or port is wrong"),
        ("wss://[hunter2", "host or port is wrong"),
        ("wss://voice example.com/hunter2", "a space"),
    ],
)
def test_bad_addresses_are_refused_without_being_shown(url, why):
    told = problem(f"[agent]\nurl = '{url}'\n")
    assert told.startswith("agent.url ") and why in told
    assert "hunter2" not in told


def test_a_key_in_the_file_is_refused_without_being_shown():
    for text in ("[agent]\napi_key = 'sk-hunter2'\n", "[agent]\napi_key_file = 'sk-hunter2'\n"):
        assert "hunter2" not in problem(text)
    assert "EARSHOT_API_KEY" in problem("[agent]\napi_key = 'sk-hunter2'\n")


def test_a_url_is_shown_without_what_may_be_secret():
    assert public_url("wss://me:hunter2@h.example:8/v1?t=hunter2") == "wss://h.example:8/v1"
    assert public_url("wss://h.example/v1#hunter2") == "wss://h.example/v1"
    assert public_url("wss://h.example/me@home") == "wss://h.example/me@home"


def test_the_dump_shows_no_secret_and_says_where_the_key_comes_from():
    text = (
        "[agent]\nurl = 'wss://voice.example.com/v1?token=hunter2#hunter2'\n"
        "[agent.options]\nAPI_Key = 'hunter2'\nvoice = 'amy'\nhook = 'https://me:hunter2@x.example/y?z=hunter2'\n"
        "nested = {password = 'hunter2', list = [{secret = 'hunter2'}], tokens = ['hunter2']}\n"
    )
    shown = dump(parse(text.encode()), "from EARSHOT_API_KEY")
    assert "hunter2" not in shown
    assert "# API key: from EARSHOT_API_KEY\n" in shown
    assert 'url = "wss://voice.example.com/v1"\n' in shown
    assert 'voice = "amy"' in shown and '"https://x.example/y"' in shown
    parse(shown.encode())


def test_a_threshold_is_no_secret_even_if_its_word_sounds_like_one(tmp_path):
    model = tmp_path / "monkey.onnx"
    model.touch()
    wanted = Config(wake=Wake(words=(str(model),), thresholds={"monkey": 0.4}))
    assert parse(dump(wanted, "none is set").encode()) == wanted


def test_every_setting_is_explained_and_dumped():
    shown = dump(Config(), "none is set").splitlines()
    for section in SECTIONS.values():
        for one in fields(section):
            place = next(n for n, line in enumerate(shown) if line.startswith(f"{one.name} = "))
            assert shown[place - 1].startswith("# ") and len(shown[place - 1]) > 5


def test_a_source_of_the_key_cannot_break_out_of_its_comment():
    assert parse(dump(Config(), "from /x\n[speaker]\nvolume = 0").encode()) == Config()


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda name: not config.looks_secret(name))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda text: "://" not in text)
PLAIN = st.one_of(
    TEXTS, st.booleans(), st.integers(), st.integers(1 << 65), st.floats(allow_nan=False), st.dates(), st.datetimes(),
    st.times(),
)  # fmt: skip
OPTIONS = st.dictionaries(
    NAMES, st.recursive(PLAIN, lambda some: st.lists(some, max_size=3) | st.dictionaries(NAMES, some, max_size=3))
)


@given(OPTIONS, TEXTS, st.integers(0, 100), st.floats(1, 600), st.booleans())
def test_what_is_dumped_loads_again_as_the_same(options, name, volume, idle_s, flag):
    wanted = Config(
        agent=Agent(options=options, agent_id=name),
        speaker=replace(Config().speaker, volume=volume, chimes=flag),
        conversation=replace(Config().conversation, idle_s=idle_s),
        panel=Panel(button="none", lights="rgb", rgb=(1, 2, 3)),
    )
    assert parse(dump(wanted, "none is set").encode()) == wanted


@given(st.binary(max_size=60))
def test_any_bytes_are_a_configuration_or_a_clear_refusal(data):
    try:
        parse(data)
    except ConfigError as refused:
        assert refused.problems


@given(st.sampled_from([(s, f.name) for s, kind in SECTIONS.items() for f in fields(kind)]), PLAIN | OPTIONS)
def test_any_value_of_any_setting_is_taken_or_clearly_refused(place, value):
    section, key = place
    try:
        parse(f"[{section}]\n{key} = {config.toml(value)}\n".encode())
    except ConfigError as refused:
        assert all(section in sentence and "\n" not in sentence for sentence in refused.problems)


def test_the_examples_of_the_readme_are_settings():
    readme = Path(__file__).parent.parent.joinpath("README.md").read_text()
    examples = re.findall(r"```toml\n(.*?)```", readme, re.S)
    assert len(examples) == 2
    for example in examples:
        parse(example.encode())
