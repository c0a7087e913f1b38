"""The app with working fakes for its card and mock pins: what it watches, and how it leaves things."""

import threading

import gpiozero
import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin

from device import app as module
from device.app import App
from device.config import Config, Microphone, Speaker
from device.errors import HardwareError
from device.eventlog import EventLog
from device.events import (
    ButtonHeld,
    ConnectionLost,
    SayReason,
    SessionEnded,
    SessionReady,
    SessionRefused,
    WakeHeard,
    WorkerDied,
)
from device.panel.look import Look
from device.session.credentials import Key


@pytest.fixture
def pins(monkeypatch):
    factory = MockFactory(pin_class=MockPWMPin)
    monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)
    yield factory
    factory.close()


@pytest.fixture
def app(pins):
    class NoCards:
        """Nothing is opened: the workers of these tests are not started."""

    return App(Config(), Key(None, ""), EventLog(None), cards=NoCards())


@pytest.fixture
def clock(monkeypatch):
    """Time as the app sees it: `clock.now = …`."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def alive(app, at):
    app._speaker.played_at = app._ear.heard_at = app._microphone._heard_at = at


def test_the_lamps_are_dark_and_the_pins_free_when_it_stops(app, pins):
    app._open_panel()
    app._lights.show(Look.LISTENING)
    lamp = pins.pin(5)
    for _ in range(500):  # a machine may stand still for seconds
        if lamp.state > 0:
            break
        threading.Event().wait(0.02)
    assert lamp.state > 0

    app._stop()
    assert lamp.state == 0
    gpiozero.LED(5, pin_factory=pins).close()  # nobody holds it


@pytest.mark.parametrize("part", ["speaker", "ear", "microphone"])
def test_a_part_that_stands_still_for_three_seconds_is_dead_and_named(app, clock, part):
    app._patient_until = clock.now
    for _ in range(8):
        clock.now += 1.0
        alive(app, clock.now)
        app._watch(0.0)
    assert app._ready and app._exit_code is None

    stuck = clock.now
    for _ in range(4):
        clock.now += 1.0
        alive(app, clock.now)
        match part:
            case "speaker":
                app._speaker.played_at = stuck
            case "ear":
                app._ear.heard_at = stuck
            case "microphone":
                app._microphone._heard_at = stuck
        app._watch(0.0)
    assert app._exit_code == 1


def test_muted_it_lives_without_a_microphone(app, clock):
    alive(app, clock.now)
    app._watch(0.0)
    app._step(ButtonHeld(), clock.now)
    for _ in range(20):
        clock.now += 1.0
        app._speaker.played_at = clock.now
        app._watch(0.0)
    assert app._exit_code is None


def test_a_part_that_does_not_come_up_in_ten_seconds_is_named(app, clock):
    steps = []
    app._step = lambda event, t: steps.append(event)
    app._patient_until = clock.now + module.START_S
    for _ in range(12):
        clock.now += 1.0
        app._ear.heard_at = app._microphone._heard_at = clock.now
        app._watch(0.0)
    assert isinstance(steps[0], WorkerDied) and steps[0].worker == "speaker"


def test_after_a_process_was_stopped_its_parts_have_time_to_come_to_themselves(app, clock):
    app._patient_until = clock.now
    alive(app, clock.now)
    app._watch(0.0)
    clock.now += 3600.0
    app._watch(0.0)
    clock.now += 1.0
    alive(app, clock.now)
    app._watch(0.0)
    assert app._exit_code is None


def test_microphone_and_speaker_are_awake_before_the_session_is_asked_for_and_until_it_is_over(app, clock, monkeypatch):
    asked = []
    monkeypatch.setattr(app._link, "start", lambda *session: asked.append(app._awake.is_set()))
    assert not app._awake.is_set()
    app._step(WakeHeard("hey_jarvis", 0.9, clock.now), clock.now)
    assert asked == [True]
    app._step(SessionReady(1), clock.now)
    assert app._awake.is_set()
    app._step(SessionEnded(1, "agent"), clock.now)
    assert not app._awake.is_set()


@pytest.mark.parametrize("ending", [SessionRefused(1, "no_credit", "No."), ConnectionLost(1, 60.0, "timeout", "Late.")])
def test_a_session_that_never_came_leaves_nothing_awake(app, clock, monkeypatch, ending):
    monkeypatch.setattr(app._link, "start", lambda *session: None)
    app._step(WakeHeard("hey_jarvis", 0.9, clock.now), clock.now)
    app._step(ending, clock.now)
    assert not app._awake.is_set()


def test_the_ear_is_told_what_is_played(app, monkeypatch):
    frames = []
    monkeypatch.setattr(app._ear, "played", frames.append)
    app._speaker._reference("frame")
    assert frames == ["frame"]


def test_at_the_first_start_after_an_installation_it_says_that_it_is_ready(app, clock, tmp_path, monkeypatch):
    said = []
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(app._speaker, "order", said.append)
    (tmp_path / "greet").touch()
    for _ in range(2):  # the second start is no first one
        app._ready = False
        alive(app, clock.now)
        app._watch(clock.now)
        while not app._inbox.empty():
            app._step(*reversed(app._inbox.get()))
    assert said == [SayReason("ready")]
    assert not (tmp_path / "greet").exists()


def test_the_card_is_opened_at_the_rates_of_the_settings(pins):
    opened = []

    class Cards:
        def open_input(self, *asked):
            opened.append(asked)
            raise HardwareError("enough")

        def open_output(self, *asked):
            opened.append(asked)
            raise HardwareError("enough")

    settings = Config(Microphone("ears", 2, rate=48_000), Speaker("mouth", rate=44_100))
    app = App(settings, Key(None, ""), EventLog(None), cards=Cards())
    for work in (app._microphone.work, app._speaker.work):
        with pytest.raises(HardwareError, match="enough"):
            work(threading.Event())
    assert opened == [("ears", 2, 48_000), ("mouth", 44_100)]


def test_while_a_card_that_was_just_opened_is_waited_for_the_watchdog_is_fed(app, clock, monkeypatch):
    fed = []
    monkeypatch.setattr(app._notifier, "watchdog", lambda: fed.append(clock.now))
    alive(app, clock.now)
    app._watch(0.0)
    app._step(ButtonHeld(), clock.now)  # muted
    clock.now += 60.0
    app._step(ButtonHeld(), clock.now)
    until = clock.now + module.START_S
    while clock.now < until - 1:
        clock.now += 1.0
        app._speaker.played_at = app._ear.heard_at = clock.now
        app._microphone._heard_at = until - module.START_S
        app._watch(0.0)
    assert app._exit_code is None and fed[-1] == clock.now and len(fed) > 5
