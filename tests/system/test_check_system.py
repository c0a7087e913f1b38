"""What the check says of the machine below the speaker, and of its service."""

import pytest

from device.system.check import service, system
from device.system.check.machine import Disk
from device.system.check.report import Verdict
from device.system.check.service import Journal, inspect
from tests.system.machines import MB, PI, FakeMachine, entry

OK, WARNING, FAILED, SKIPPED = Verdict.OK, Verdict.WARNING, Verdict.FAILED, Verdict.SKIPPED


@pytest.fixture
def machine(tmp_path):
    return FakeMachine(tmp_path)


def test_a_healthy_pi_is_well(machine):
    parts = [system.system(machine), system.power(machine), system.clock(machine, True), system.disk(machine)]
    parts += [system.memory(machine), service.service(machine, inspect(machine), Journal(machine))]
    assert [part.verdict for part in parts] == [OK] * 6 and not any(part.remedy for part in parts)
    assert PI in parts[0].text and "trixie" in parts[0].text


def test_a_system_of_32_bits_is_warned_of(machine):
    machine.bits = 32
    assert system.system(machine).verdict is WARNING and "64-bit" in system.system(machine).remedy


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("0x50005", "too low now"),
        ("0x50000", "too low since"),
        ("0x4", "too hot (45 °C)"),
        ("0x80008", "too hot (45"),
        ("0xe0000", "was too hot since"),
    ],
)
def test_too_little_voltage_and_too_much_heat_are_warned_of_with_a_remedy(machine, flags, said):
    machine.programs["vcgencmd"] = f"throttled={flags}\n"
    found = system.power(machine)
    assert found.verdict is WARNING and said in found.text and found.remedy and found.figures["throttled"] == flags


@pytest.mark.parametrize("place", ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware"])
def test_where_the_firmware_may_not_be_asked_the_kernel_is(machine, place):
    machine.programs["vcgencmd"] = 255
    assert system.power(machine).verdict is SKIPPED
    machine.put(f"/sys/devices/platform/{place}/get_throttled", "50000\n")
    assert "too low since" in system.power(machine).text


@pytest.mark.parametrize("content", ["", "unknown", "45.5"])
def test_a_temperature_that_cannot_be_read_is_unknown(machine, content):
    machine.put("/sys/class/thermal/thermal_zone0/temp", content)
    found = system.power(machine)
    assert found.verdict is OK and "temperature unknown" in found.text and found.figures["temperature_c"] is None


def test_another_machine_is_not_asked_for_its_voltage(tmp_path):
    machine = FakeMachine(tmp_path, {"/proc/device-tree/model": "Some Other Board"})
    assert system.power(machine).text == "not a Raspberry Pi" and machine.ran.items == []


def test_a_clock_that_is_not_synchronised_is_warned_of(machine):
    machine.take("/run/systemd/timesync/synchronized")
    machine.programs["timedatectl"] = "no\n"
    assert system.clock(machine, True).verdict is WARNING
    machine.programs["timedatectl"] = "yes\n"
    assert system.clock(machine, True).verdict is OK


def test_a_clock_of_another_age_fails_only_who_needs_certificates_and_blames_no_release(machine):
    machine.clock = 0.0
    found = system.clock(machine, encrypted=True)
    assert found.verdict is FAILED and "1970" in found.text and found.outside
    assert system.clock(machine, encrypted=False).verdict is WARNING


@pytest.mark.parametrize(("free", "verdict"), [(500, OK), (100, WARNING), (5, FAILED)])
def test_what_is_left_of_the_disk_is_told(machine, free, verdict):
    machine.disks["/"] = Disk(30_000 * MB, free * MB)
    found = system.disk(machine)
    assert found.verdict is verdict and f"{free} of 30000 MB" in found.text
    assert bool(found.remedy) is (verdict is not OK)


def test_a_card_that_the_kernel_has_made_read_only_fails(machine):
    machine.put("/proc/self/mountinfo", "29 1 179:2 / / rw shared:1 - ext4 /dev/root ro,errors=remount-ro\n")
    assert system.disk(machine).verdict is FAILED and "read-only" in system.disk(machine).text


def test_a_service_to_which_all_is_read_only_does_not_think_that_the_card_is(machine):
    machine.put(
        "/proc/self/mountinfo", "1 0 0:2 / / rw - rootfs rootfs rw\n29 1 179:2 / / ro shared:1 - ext4 /dev/root rw\n"
    )
    assert system.disk(machine).verdict is OK


def test_a_system_that_forgets_everything_says_so(machine):
    machine.put("/proc/self/mountinfo", "29 1 0:20 / / rw - overlay overlayroot rw,lowerdir=/x\n")
    assert "forgets" in system.disk(machine).text


def test_little_memory_is_warned_of(machine):
    machine.put("/proc/meminfo", "MemTotal: 430000 kB\nMemAvailable: 20480 kB\n")
    assert system.memory(machine).verdict is WARNING and "20 of 419 MB" in system.memory(machine).text


def test_a_machine_that_tells_nothing_breaks_no_part(tmp_path):
    machine = FakeMachine(tmp_path / "nothing", {}, systemctl_show=127, journalctl=127, timedatectl=127)
    for path in ("/etc/os-release", "/proc/meminfo", "/proc/self/mountinfo", "/proc/sys/kernel/osrelease"):
        machine.take(path)
    assert "unknown" in system.system(machine).text
    assert system.memory(machine).verdict is WARNING and system.disk(machine).verdict is OK
    assert service.service(machine, inspect(machine), Journal(machine)).verdict is SKIPPED


def state(machine, text):
    machine.programs["systemctl show"] = text
    return service.service(machine, inspect(machine), Journal(machine))


def test_a_service_that_gave_up_fails_and_one_that_is_stopped_is_warned_of(machine):
    found = state(machine, "LoadState=loaded\nActiveState=failed\nNRestarts=5\n")
    assert found.verdict is FAILED and found.outside and "journalctl -u earshot" in found.remedy
    assert state(machine, "LoadState=loaded\nActiveState=inactive\nNRestarts=0\n").verdict is WARNING
    machine.put("/opt/earshot/trial", "0.1\n")
    assert state(machine, "LoadState=loaded\nActiveState=inactive\nNRestarts=0\n").verdict is OK


def test_a_machine_without_the_service_is_no_fault(machine):
    assert state(machine, "LoadState=not-found\nActiveState=inactive\n").verdict is SKIPPED


def test_kills_by_the_watchdog_are_counted(machine):
    machine.programs["journalctl"] = entry("earshot.service: Watchdog timeout (limit 20s)!", 3, "systemd") * 2
    found = service.service(machine, inspect(machine), Journal(machine))
    assert found.verdict is WARNING and found.figures == {"state": "active", "restarts": 0, "watchdog_kills": 2}


ERRORS = (
    entry("= ready; say hey_jarvis")
    + entry("= error code=key_refused message=no")
    + entry("! microphone")
    + entry("earshot.service: Failed with result 'watchdog'.", 3, "systemd")
    + entry('{"t": 1, "event": "error", "code": "timeout"}')
    + entry('{"t": 1, "event": "transcript", "text": "my secret"}', 3)
)


def test_errors_of_ours_are_counted_and_the_last_told_without_speech(machine):
    machine.programs["journalctl"] = ERRORS
    found = service.errors(Journal(machine))
    assert found.verdict is WARNING and found.figures["errors"] == 4 and "my secret" not in str(found)
    assert found.text.endswith('"code": "timeout"}')


def test_a_journal_without_errors_is_well_and_one_that_may_not_be_read_is_skipped(machine):
    machine.programs["journalctl"] = entry("= ready; say hey_jarvis") + "damaged\n" + "[]\n"
    assert service.errors(Journal(machine)).verdict is OK
    machine.is_root, machine.programs["journalctl"] = False, ""
    assert service.errors(Journal(machine)).verdict is SKIPPED
    machine.programs["journalctl"] = 1
    assert service.errors(Journal(machine)).verdict is SKIPPED


def test_only_events_are_counted_not_wake_words_with_which_a_line_begins():
    lines = ["= ready; say x", "= error code=a message=b", "= stopped ", '{"event": "wake"}']
    lines += ["= hey_jarvis counts in the voice of Ada only", "= speaker 'X' at 48000 Hz, 2 channels"]
    found = [service.Entry(0.0, "earshot", 6, line) for line in lines]
    assert set(service.counts(found)) == {"ready", "error", "stopped", "wake"}


def test_a_line_that_is_not_utf_8_is_read_all_the_same(machine):
    machine.programs["journalctl"] = entry([33, 32, 255, 65])
    assert Journal(machine).entries[0].message == "! \ufffdA" and Journal(machine).entries[0].is_error


def test_the_journal_is_read_once(machine):
    journal = Journal(machine)
    service.service(machine, inspect(machine), journal)
    service.errors(journal)
    assert sum(line.startswith("journalctl") for line in machine.ran.items) == 1
