"""The speaker: the only place that builds its parts, starts them, runs the brain and stops them."""

import contextlib
import logging
import os
import queue
import signal
import threading
import time
from datetime import datetime
from typing import Any

from device import brain, night, talking_over
from device.audio import Frame
from device.config import Config
from device.eventlog import EventLog
from device.events import (
    CloseEar,
    CloseMicrophone,
    DayBroke,
    DeadlinePassed,
    DuckPlayback,
    Effect,
    Event,
    Exit,
    FirstReady,
    InterruptAgent,
    JudgeEcho,
    NightFell,
    OpenEar,
    OpenMicrophone,
    PlayChime,
    RaisePlayback,
    ResumePlayback,
    SayReason,
    SendHeld,
    SendText,
    SetVolume,
    StartSession,
    StopAsked,
    StopChime,
    StopPlayback,
    StopSession,
    TellHeard,
    WorkerDied,
)
from device.hearing.barge_in import BargeIn
from device.hearing.canceller import Canceller
from device.hearing.ear import Ear
from device.hearing.microphone import Microphone
from device.hearing.noise import NoiseFloor
from device.hearing.speech import SpeechDetector
from device.hearing.wake.detector import WakeDetector
from device.panel.buttons import Button, open_button
from device.panel.gpio import NoGpio
from device.panel.lights import Lights, open_lights
from device.panel.look import look
from device.record import record
from device.session.connect import connect
from device.session.credentials import Key
from device.session.link import Link
from device.session.prepare import prepare
from device.session.protocols import PROTOCOLS, takes_text
from device.session.session import Connect
from device.soundcard import SoundCards
from device.speaking.speaker import Speaker
from device.state import RESTING, State
from device.status import Status
from device.system.control import Control
from device.system.notify import Notifier
from device.system.process import is_first_start, runtime_file
from device.worker import Worker, stop_all

log = logging.getLogger(__name__)

DEAF_S = 3.0
"""A part that moves no sound for this long is dead, whatever PortAudio says (it says nothing)."""
START_S = 10.0
"""A sound card may take this long for its first frame."""
TICK_S = 0.5
_STARTING_TICK_S = 0.02
_CROWDED = 500
"""Events that may wait in the inbox before the link, whose other end may be hostile, has to wait too."""


class App:
    """One speaker. `cards` and `connect` are the machine's own unless a test brings others."""

    def __init__(
        self, config: Config, key: Key, event_log: EventLog, *, cards: SoundCards, connect: Connect = connect
    ) -> None:
        self._config = config
        self._log = event_log
        self._notifier = Notifier()
        self._inbox: queue.SimpleQueue[tuple[float, Event]] = queue.SimpleQueue()
        self._state = State(
            config.conversation, config.speaker.volume, config.microphone.preroll_s, config.night.volume
        )
        self._night = night.hours(config.night.hours)
        self._exit_code: int | None = None
        self._ready = False
        self._watched_at = self._patient_until = 0.0
        """When the parts were looked after last, and until when they may still be getting ready."""
        self._stopped = threading.Event()
        protocol = PROTOCOLS[config.agent.protocol]
        self._status = Status(config.agent, protocol.url, takes_text(protocol), time.monotonic())
        microphone, speaker = config.microphone, config.speaker
        self._awake = threading.Event()
        """Set while there is a session: a sound card that rests costs little, but is 80 ms late."""
        self._speaker = Speaker(
            speaker,
            self._post,
            open_stream=lambda: cards.open_output(speaker.device, speaker.rate),
            awake=self._awake,
            reference=lambda frame: self._ear.played(frame),
        )
        self._link = Link(
            lambda session, conversation_id: protocol(config.agent, key.value, session, conversation_id),
            self._speaker.feed,
            self._post_patiently,
            connect=connect,
        )
        self._noise = NoiseFloor()
        self._canceller = Canceller(microphone)
        self._ear = Ear(
            WakeDetector(config.wake),
            SpeechDetector(),
            self._link.hear,
            self._post,
            canceller=self._canceller,
            barge_in=BargeIn(config.conversation.barge_in_ms) if config.conversation.barge_in == "speech" else None,
            hold_s=talking_over.hold_s(config.conversation),
            noise=self._measure if speaker.louder_in_noise else None,
        )
        self._microphone = Microphone(
            microphone,
            self._ear.hear,
            self._post,
            open_stream=lambda: cards.open_input(microphone.device, microphone.channels, microphone.rate),
            awake=self._awake,
        )
        self._workers = [
            Worker("speaker", self._speaker.work, self._post),
            Worker("ear", self._ear.work, self._post),
            Worker("microphone", self._microphone.work, self._post),
            Worker("control", Control(self._answer, runtime_file("sock")).work, self._post),
        ]
        self._lights: Lights | None = None
        self._button: Button | None = None

    def run(self) -> int:
        """Run until told to stop; returns the exit code.

        Raises:
            EarshotError: it cannot start.
        """
        started = time.monotonic()
        self._patient_until = started + START_S
        self._log.write(started, "started", pid=os.getpid())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_IGN:  # nohup
                continue
            signal.signal(number, lambda *_: self._post(StopAsked()))  # SimpleQueue.put may interrupt itself
        try:
            self._open_panel()
            for worker in self._workers:
                worker.start()
            prepare(encrypted=self._config.agent.protocol != "local")
            threading.Thread(target=self._load, name="canceller-load", daemon=True).start()
            self._look_out(started)
            while self._exit_code is None:
                self._turn(started)
        finally:
            self._stop()
        return self._exit_code

    def _open_panel(self) -> None:
        try:
            self._lights = open_lights(self._config.panel)
        except NoGpio as error:
            log.warning("%s Going on without lights.", error)
        try:
            self._button = open_button(self._config.panel, self._post)
        except NoGpio as error:
            log.warning("%s Going on without the button.", error)

    def _post(self, event: Event) -> None:
        """Put an event into the inbox, with its time; any thread, never waits."""
        self._inbox.put((time.monotonic(), event))

    def _post_patiently(self, event: Event) -> None:
        while self._inbox.qsize() > _CROWDED and not self._stopped.wait(0.01):
            pass
        self._post(event)

    def _load(self) -> None:
        """Load the echo canceller, on a thread of its own: it takes seconds on a small Pi, and nothing is played yet."""
        try:
            self._canceller.load()
        except Exception as error:  # a library's own, too: else it would hear itself, and nobody would know
            log.debug("! canceller", exc_info=True)
            self._post(WorkerDied("canceller", str(error) or repr(error)))

    def _measure(self, frame: Frame) -> None:
        """Tell the speaker how loud it is here; on the ear's thread."""
        if (dbfs := self._noise.hear(frame)) is not None:
            self._speaker.room(dbfs)

    def _turn(self, started: float) -> None:
        """Wait for the next event or deadline, and do what it asks for."""
        now = time.monotonic()
        tick = now + (TICK_S if self._ready else _STARTING_TICK_S)
        deadline = self._state.deadline
        if deadline is not None and deadline <= now:
            self._step(DeadlinePassed(), now)
            return
        try:
            t, event = self._inbox.get(timeout=max(0.0, min(tick, deadline or tick) - now))
        except queue.Empty:
            pass
        else:
            self._step(event, t)
        self._watch(started)

    def _watch(self, started: float) -> None:
        """Be ready once all parts live; tell systemd that they do; see when one no longer does, whatever its driver says."""
        now = time.monotonic()
        if now - self._watched_at < TICK_S and self._ready:
            return
        if now - self._watched_at > DEAF_S:  # the process itself stood still: the parts have to come to themselves
            self._patient_until = max(self._patient_until, now + DEAF_S)
        self._watched_at = now
        self._look_out(now)
        if self._state.exit_code is not None:
            return
        seen = {"speaker": self._speaker.played_at}
        if not self._state.muted:  # the microphone first: without it the ear stands still too
            seen = {"microphone": self._microphone.heard_at, "ear": self._ear.heard_at, **seen}
        dead = [part for part, at in seen.items() if at is None or now - at > DEAF_S]
        if not dead:
            self._live(now, started)
        elif now > self._patient_until:
            self._step(WorkerDied(dead[0], self._verdict(dead[0])), now)
        elif self._ready:  # a card that was just opened may take longer than the watchdog waits
            self._notifier.watchdog()

    def _look_out(self, now: float) -> None:
        """See whether night or day has come."""
        if self._night is None:
            return
        time.tzset()  # the owner may have set another time zone: a process does not see that by itself
        if night.is_night(self._night, datetime.now().time()) is not self._state.night:
            self._step(DayBroke() if self._state.night else NightFell(), now)

    def _live(self, now: float, started: float) -> None:
        if not self._ready:
            self._ready, self._patient_until = True, now
            self._log.write(now, "ready", start_s=round(now - started, 3))
            log.info("= ready; say %s", " or ".join(self._config.wake.words))
            self._notifier.ready()
            if is_first_start():
                self._post(FirstReady())
        self._notifier.watchdog()

    def _verdict(self, part: str) -> str:
        remedy = "Is it plugged in? `earshot check` tries it, `earshot devices` lists those there are."
        match part:
            case "microphone":
                return f"The microphone {self._config.microphone.device!r} gives no sound any more. {remedy}"
            case "speaker":
                return f"The speaker {self._config.speaker.device!r} takes no sound any more. {remedy}"
        return "Listening for the wake word takes longer than the sound itself. Is something else using the processor?"

    def _step(self, event: Event, t: float) -> None:
        before = self._state
        self._state, effects = brain.step(before, event, t)
        (self._awake.clear if self._state.phase in RESTING else self._awake.set)()
        for effect in effects:
            self._carry_out(effect)
        if self._lights is not None:
            self._lights.show(look(self._state), self._config.night.lights if self._state.night else 100)
        for name, fields in record(event, before, self._state, effects, self._config):
            self._log.write(t, name, **fields)
            self._status.note(t, name, fields)
            _say(name, fields)

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What is asked on the control socket; on its thread, so the state is that of some moment of the last step."""
        reply, event = self._status.answer(request, self._state, time.monotonic())
        if event is not None:
            self._post(event)
        return reply

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case StartSession(session, conversation_id):
                self._link.start(session, conversation_id)
            case InterruptAgent():
                self._link.interrupt()
            case SendText(text):
                self._link.text(text)
            case TellHeard(reply, played_s):
                self._link.heard(reply, played_s)
            case StopSession(reason):
                self._link.stop(reason)
            case OpenEar() | CloseEar() | SendHeld() | JudgeEcho():
                self._ear.order(effect)
            case PlayChime() | SayReason():
                self._ear.mask(self._speaker.masking_s(effect))  # first: the agent must not hear its beginning
                self._speaker.order(effect)
            case StopChime():
                self._speaker.order(effect)
                self._ear.unmask(self._speaker.fading_s)
            case StopPlayback() | ResumePlayback() | DuckPlayback() | RaisePlayback() | SetVolume():
                self._speaker.order(effect)
            case OpenMicrophone():
                self._patient_until = time.monotonic() + START_S
                self._microphone.open()
            case CloseMicrophone():
                self._microphone.close()
            case Exit(code):
                self._exit_code = code

    def _stop(self) -> None:
        self._notifier.stopping()
        self._stopped.set()
        try:
            with contextlib.ExitStack() as parts:  # whatever fails, the lamps go dark
                for part in (self._lights, self._button):
                    if part is not None:
                        parts.callback(part.close)
                self._link.close()
        finally:
            ended = stop_all(self._workers)
            self._log.write(time.monotonic(), "stopped")
            self._log.close()
            if not ended:  # stuck in the driver of a dead card, and PortAudio crashes when it is taken down under it
                if self._exit_code is None:
                    log.error("! cannot go on", exc_info=True)
                os._exit(1 if self._exit_code is None else self._exit_code)


def _say(name: str, fields: dict[str, Any]) -> None:
    """The log on standard error: errors for everybody, the rest for those who ask; never what was said."""
    level = {"error": logging.ERROR, "retry": logging.DEBUG, "dropped": logging.WARNING, "state": logging.INFO}
    if name != "transcript":
        details = " ".join(f"{field}={value}" for field, value in fields.items())
        log.log(level.get(name, logging.DEBUG), "= %s %s", name, details)
