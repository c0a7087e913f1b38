"""What happens to a speaker from its installation to its end, a step each.

A step returns what was seen, as a line, or raises Trouble. A story is steps in order, from the installed disk on.
"""

import time
from datetime import datetime

from tests.virtual_pi.home import CARD, SERVICE, Home, changes, expect
from tests.virtual_pi.judging import Scene, answer_s, speech_share

INSTALL = f"install.sh --offline {CARD}/offline --yes"
BACK_AFTER_CRASH_S, BACK_AFTER_HANG_S = 8.0, 20.0
SILENT_S = 0.2
SECOND_RUN_S = 15.0
IDLE_S, IDLE_MB = 300.0, 5.0
LISTENING, SPEAKING = 0, 1
OURS = ("/etc", "/opt", "/usr/local", "/boot", "/var/lib/earshot")


def is_a_pi(home: Home) -> str:
    """The machine is what the rest relies on."""
    home.mount_card()
    home.run("systemctl is-system-running --wait", 120)
    return home.run("uname -r; ls -l /dev/gpiochip0; head -1 /proc/asound/cards").replace("\n", "; ")


def install(home: Home) -> str:
    """sudo ./install.sh: it restarts the machine, as a sound board's first overlay wants it."""
    home.before = home.files("/")
    done = home.ask(f"{CARD}/checkout/{INSTALL} --no-key --board panel", 1200)
    home.keep("install.txt", done.output)
    expect(done.code == 0, done.text[-3000:])
    home.machine.wait_off()
    console = home.machine.console.read_text(errors="replace")
    expect("reboot: Restarting system" in console, f"it did not restart: {console[-500:]}")
    return f"in {done.end - done.start:.0f} s, then the restart that it asked for"


def is_ready_after_installation(home: Home) -> str:
    """The first boot with the board's overlay."""
    after = home.ready_after(0.0, 150)
    config = home.ask(
        "diff /boot/firmware/config.txt.before-earshot /boot/firmware/config.txt; ls /boot/firmware/overlays"
    ).text
    expect("dtoverlay=earshot" in config, f"no overlay was entered: {config}")
    return f"ready {after:.0f} s after the kernel started"


def starts(home: Home) -> str:
    """How long a start takes."""
    home.run(f"systemctl stop {SERVICE}")
    seconds = []
    for _ in range(2):
        done = home.ask(f"systemctl restart {SERVICE}", 120)
        expect(done.code == 0, home.journal(20))
        seconds.append(done.end - done.start)
    return f"start to ready {min(seconds):.1f} s"


def other_start(home: Home) -> str:
    """How long openwakeword takes for its own import there."""
    # tqdm, of which it wants a name, is the only thing that a speaker has not of what openwakeword imports.
    program = "import sys, types; sys.modules['tqdm'] = types.SimpleNamespace(tqdm=None); import openwakeword"
    python = f'PYTHONPYCACHEPREFIX=/var/tmp/compiled /opt/earshot/current/venv/bin/python -c "{program}"'
    home.run(python, 400)  # once to compile it, which is not what a start costs
    done = home.ask(python, 120)
    home.run("rm -r /var/tmp/compiled")
    return f"`import openwakeword` {done.end - done.start:.1f} s"


def hears_the_wake_word(home: Home) -> str:
    """The first of many."""
    return home.hears()


def answers(home: Home) -> str:
    """Wake word and question in a breath, with the built-in agent's answer and the lights."""
    scene = home.observe("time", 10)
    answer = scene.longest()
    expect(answer is not None and answer[1] - answer[0] > 0.8, f"no answer: sound at {times(scene)}")
    assert answer is not None
    length, share = answer[1] - answer[0], speech_share(scene.cut(*answer))
    wanted = answer_s(datetime.fromisoformat(home.run("date +%Y-%m-%dT%H:%M:%S")))
    expect(abs(length - wanted) < 0.25 * wanted, f"the answer is {length:.2f} s long, not {wanted:.2f} s")
    expect(share > 0.5, f"only {share:.0%} of the answer is speech")
    listened, spoke = scene.first(LISTENING, scene.played), scene.first(SPEAKING, scene.played)
    expect(listened is not None, f"the listening light stayed dark: {scene.lights[:20]}")
    expect(spoke is not None, f"the speaking light stayed dark: {scene.lights[:40]}")
    listening = scene.shares(LISTENING, listened or scene.played, answer[0] - 0.1)
    speaking = scene.shares(SPEAKING, *answer)
    crossed = scene.shares(LISTENING, answer[0] + 0.3, answer[1] - 0.3)
    expect(listening > 0.9, f"the listening light is lit for {listening:.0%} of the time until the answer")
    expect(0.15 < speaking < 0.85, f"the speaking light breathes: lit for {speaking:.0%} of the answer")
    expect(crossed < 0.05, f"the listening light is lit for {crossed:.0%} of the answer")
    return (
        f"answer of {length:.2f} s (wanted {wanted:.2f}), {share:.0%} speech, {answer[0] - scene.ended:.1f} s after the "
        f"question; lights: listening {listening:.0%} until then, speaking {speaking:.0%} of the answer"
    )


def is_interrupted(home: Home) -> str:
    """A press silences a story."""
    scene = home.observe("story", 12, press_after=2.0)
    expect(scene.pressed is not None, f"nothing to interrupt: sound at {times(scene)}")
    assert scene.pressed is not None
    late = scene.silent_after(scene.pressed)
    expect(0 < late <= SILENT_S, f"silent {late * 1000:.0f} ms after the press: {times(scene)}")
    dark = scene.shares(SPEAKING, scene.pressed + 0.5, scene.pressed + 2.0)
    expect(dark < 0.02, f"the speaking light is lit for {dark:.0%} of the time after the press")
    return f"silent {late * 1000:.0f} ms after the press"


def survives_a_crash(home: Home) -> str:
    """kill -9 while it listens."""
    home.hears()
    home.run(f"sleep 3; aplay -q -D hw:CARD=Loopback,DEV=1 {CARD}/sounds/wake.wav")
    lamp = home.run("for n in $(seq 50); do grep 1 /run/gpio/sim_gpio5/value && break; sleep 0.1; done; true")
    expect(lamp == "1", f"the listening light is dark:\n{home.journal(20)}")
    killed = home.ask(f"kill -9 {home.main_pid()}").start
    after = home.ready_after(killed, 60)
    expect(after <= BACK_AFTER_CRASH_S, f"ready {after:.1f} s later")
    # The simulated pins fall back by themselves when their owner dies; those of a Pi do not, so its own word counts.
    expect("Lights off: pins 5, 6, 13." in home.journal(40), home.journal(40))
    lit = home.run("cat /run/gpio/sim_gpio{5,6,13}/value").split()
    expect(lit == ["0", "0", "0"], f"lamps are lit: {lit}")
    return f"ready {after:.1f} s later, lights off, {home.hears()}"


def survives_a_hang(home: Home) -> str:
    """kill -STOP: the watchdog ends it."""
    stopped = home.ask(f"kill -STOP {home.main_pid()}").start
    after = home.ready_after(stopped, 90)
    expect(after <= BACK_AFTER_HANG_S, f"ready {after:.1f} s later")
    return f"ready {after:.1f} s later, {home.hears()}"


def survives_without_a_card(home: Home) -> str:
    """The card is taken away and comes back."""
    driver = "/sys/bus/platform/drivers/snd_aloop"
    home.run(f"timeout 30 sh -c 'echo snd_aloop.0 >{driver}/unbind'", 40)
    away = home.ask(f"sleep 20; systemctl show {SERVICE} -p SubState -p NRestarts --value; cat /proc/asound/cards").text
    back = home.ask(f"timeout 30 sh -c 'echo snd_aloop.0 >{driver}/bind'", 40)
    expect(back.code == 0, f"the card cannot be put back: {back.text}")
    after = home.ready_after(back.start, 90)
    return f"without it: {away.splitlines()}; ready {after:.1f} s after it is back, {home.hears()}"


def survives_a_full_disk(home: Home) -> str:
    """Nothing can be written."""
    home.ask("fallocate -l 100G /full; head -c 8G /dev/zero >>/full; sync", 300)
    try:
        free = home.run("df --output=avail / | tail -1").strip()
        expect(int(free) < 100, f"{free} KB are free")
        first = home.hears()
        begun = home.run("date +%s.%N")
        begin = home.ask(f"systemctl restart {SERVICE}", 120)
        expect(begin.code == 0, f"it does not start on a full disk:\n{home.journal(20)}")
        second = home.hears()
        said = home.ask(f"journalctl -u {SERVICE} --since=@{begun} --no-pager -o cat").text
        expect("= ready" in said and "Going on without" not in said, said)
    finally:
        home.run("rm -f /full; sync")
    return f"{free} KB free: {first}; started anew: {second}"


def changes_nothing(home: Home) -> str:
    """install.sh once more."""
    before, pid = home.files(*OURS), home.main_pid()
    done = home.ask(f"{CARD}/checkout/{INSTALL} --no-key", 300)
    expect(done.code == 0 and "Nothing to change" in done.text, done.text[-2000:])
    expect(home.main_pid() == pid, "the speaker was started anew")
    difference = changes(before, home.files(*OURS))
    expect(not difference, f"it changed {difference}:\n{done.text[-1000:]}")
    seconds = done.end - done.start
    expect(seconds <= SECOND_RUN_S, f"nothing changed, but it took {seconds:.1f} s")
    return f"{seconds:.1f} s: {done.text.splitlines()[-1]}"


def is_updated(home: Home) -> str:
    """A new release."""
    old = home.release()
    done = home.ask(f"{CARD}/next/{INSTALL} --update", 400)
    expect(done.code == 0, f"{done.text[-2000:]}\n{home.journal(20)}")
    expect(home.release() != old, f"still release {old}:\n{done.text[-1000:]}")
    return f"{done.end - done.start:.1f} s, release {old} -> {home.release()}, {home.hears()}"


def undoes_a_failed_update(home: Home) -> str:
    """The new release raises an error when it starts."""
    old = home.release()
    done = home.ask(f"{CARD}/broken/{INSTALL} --update", 600)
    expect(done.code != 0 and "Going back to release" in done.text, done.text[-2000:])
    expect(home.release() == old, f"release {home.release()} instead of {old}:\n{done.text[-2000:]}")
    return f"{done.end - done.start:.1f} s, release {old} again, {home.hears()}"


def survives_a_power_cut(home: Home) -> str:
    """In the middle of an update, while the new release is on trial."""
    old = home.release()
    same = home.ask(f"cmp {CARD}/checkout/CHANGELOG.md /opt/earshot/current/CHANGELOG.md").code == 0
    home.machine.begin(f"{CARD}/{'next' if same else 'checkout'}/{INSTALL} --update", 400)
    end = time.monotonic() + 200
    while home.ask(f"test -e /opt/earshot/trial && test $(basename $(readlink /opt/earshot/current)) != {old}").code:
        expect(time.monotonic() < end, f"no trial began in 200 s: {home.ask('ls -la /opt/earshot').text}")
        time.sleep(0.2)
    on_trial = home.release()
    home.run("sleep 2")
    home.machine.cut()
    home.machine.start()
    home.mount_card()
    home.ready_after(0.0, 150)
    expect(home.release() == old, f"release {home.release()} instead of {old}")
    expect(home.ask("test -e /opt/earshot/trial").code != 0, "it is still on trial")
    undone = home.run("journalctl -b -u earshot-undo --no-pager -o cat")
    expect(f"going back to release {old}" in undone, f"the undo unit says: {undone}")
    return f"cut while release {on_trial} was on trial; booted with release {old}, {home.hears()}"


def writes_little(home: Home) -> str:
    """Disk writes of an idle day."""
    home.run("sleep 30; sync")
    before, start = home.written()
    home.run(f"sleep {IDLE_S}; sync", IDLE_S + 60)
    after, end = home.written()
    a_day = (after - before) * 512 / 1e6 * 86_400 / (end - start)
    expect(a_day <= IDLE_MB, f"{(after - before) / 2:.0f} KB in {end - start:.0f} s are {a_day:.1f} MB a day")
    return f"{(after - before) / 2:.0f} KB in {end - start:.0f} s: {a_day:.2f} MB a day; {home.hears()}"


def leaves_nothing(home: Home) -> str:
    """install.sh --uninstall --purge"""
    said = home.run(f"{CARD}/checkout/install.sh --uninstall --purge --yes", 900)
    left = changes(home.before, home.files("/"))
    expect(not left, f"left behind or changed: {left[:40]}\n{said[-1000:]}")
    users = home.ask("getent passwd earshot; getent group earshot; systemctl list-units --all --no-legend 'earshot*'")
    expect(not users.text, f"left behind: {users.text}")
    return said.splitlines()[-1]


def times(scene: Scene) -> str:
    """When it was loud, in seconds since the scene's words began."""
    spans = (f"{start - scene.played:.2f}-{end - scene.played:.2f} s" for start, end in scene.loud())
    return (", ".join(spans) or "never") + f" {scene.said}"


INSTALLATION = (is_a_pi, install)
STORIES = {
    "life": (
        is_ready_after_installation, starts, hears_the_wake_word, answers, is_interrupted,
        survives_a_crash, survives_a_hang, survives_without_a_card, writes_little, survives_a_full_disk,
    ),
    "releases": (changes_nothing, is_updated, undoes_a_failed_update, survives_a_power_cut, leaves_nothing),
}  # fmt: skip
"""By name; each has a machine of its own, at the same time."""
COMPARISONS = {"comparisons": (other_start,)}
"""Done only where they are asked for: it compiles for minutes."""
