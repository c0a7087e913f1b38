import numpy as np
import pytest

from device.audio import FRAME_S, FRAME_SAMPLES, RATE, Frame
from device.config import Microphone
from device.hearing.alignment import LEAD
from device.hearing.canceller import REST_S, Canceller
from device.speaking.reference import PAUSE
from tests.hearing.echoing import LATENCY, RESPONSE, echo, feed, noise, silence, syllables


class Subtraction:
    """Takes out what it was given `lead` samples ago, as the room of `echo` makes it; `gain` 0: it does not work."""

    def __init__(self, lead: int = LEAD, gain: float = 0.3) -> None:
        self.lead, self.gain, self.calls = lead, gain, 0
        self._given = np.zeros(8000, np.int16)

    def process(self, reference: np.ndarray, heard: np.ndarray) -> None:
        self.calls += 1
        self._given = np.concatenate((self._given[FRAME_SAMPLES:], reference))
        end = len(self._given) - self.lead
        before = len(RESPONSE) - 1
        part = self._given[end - FRAME_SAMPLES - before : end].astype(float)
        heard -= (self.gain * np.convolve(part, RESPONSE)[before : before + FRAME_SAMPLES]).astype(np.int16)


class Cleaned:
    """Keeps what became of what was heard."""

    def __init__(self, canceller: Canceller, engaged: bool = True) -> None:
        self.canceller, self.engaged = canceller, engaged
        self.frames: list[Frame] = []
        self.residual: list[float] = []
        self.let_through: list[bool] = []
        self.linear: list[Frame] = []

    def play(self, frame: Frame) -> None:
        self.canceller.played(frame)

    def hear(self, frame: Frame) -> None:
        self.frames.append(self.canceller.clean(frame, engaged=self.engaged))
        self.residual.append(self.canceller.residual_dbfs)
        self.linear.append(self.canceller.linear)
        self.let_through.append(self.canceller.let_through)

    def samples(self) -> np.ndarray:
        return np.frombuffer(b"".join(frame.pcm for frame in self.frames), np.int16)


def level(samples: np.ndarray) -> float:
    return 10 * float(np.log10(np.mean(np.square(samples / 32768)) + 1e-10))


REPLY = np.concatenate((silence(1.0), syllables(5.0), silence(1.0)))
ROOM = echo(REPLY, LATENCY)


@pytest.fixture
def canceller() -> Canceller:
    return Canceller(Microphone(), Subtraction())


def test_our_echo_is_taken_out(canceller):
    cleaned = Cleaned(canceller)
    feed(cleaned, REPLY, ROOM)
    part = slice(2 * RATE, 6 * RATE)
    assert level(ROOM[part]) - level(cleaned.samples()[part]) > 25
    judged = canceller.judge(3, 5.0)
    assert (judged.reply, judged.trouble) == (3, "")
    assert judged.erle_db > 25
    assert judged.delay_ms == pytest.approx(0, abs=0.1)


def test_frames_keep_their_time_and_length(canceller):
    cleaned = Cleaned(canceller)
    feed(cleaned, REPLY[:RATE], ROOM[:RATE])
    assert [frame.t for frame in cleaned.frames] == pytest.approx(
        [100 + (number + 1) * FRAME_S for number in range(50)]
    )
    assert {len(frame.pcm) for frame in cleaned.frames} == {640}


def test_it_rests_while_no_session_is_open_and_nothing_plays(canceller):
    frame = Frame(noise(FRAME_SAMPLES).tobytes(), 1.0)
    assert canceller.clean(frame, engaged=False) is frame
    assert canceller.clean(frame, engaged=True) is not frame


def test_it_works_on_for_some_seconds_after_a_sound_without_a_session():
    apm = Subtraction()
    cleaned = Cleaned(Canceller(Microphone(), apm), engaged=False)
    played = np.concatenate((syllables(1.0), silence(10.0)))
    feed(cleaned, played, echo(played, LATENCY))
    assert apm.calls * FRAME_S == pytest.approx(1.0 + PAUSE * FRAME_S + REST_S, abs=0.1)


def test_while_it_is_loading_frames_pass_and_nothing_is_told():
    canceller = Canceller(Microphone())
    cleaned = Cleaned(canceller)
    feed(cleaned, REPLY, ROOM)
    assert np.array_equal(cleaned.samples(), ROOM[: len(cleaned.samples())])
    assert canceller.judge(1, 5.0).trouble == ""


def test_it_knows_that_it_does_not_work():
    canceller = Canceller(Microphone(), Subtraction(gain=0.0))
    feed(Cleaned(canceller), REPLY, ROOM)
    judged = canceller.judge(1, 5.0)
    assert judged.trouble == "echo_not_cancelled"
    assert judged.erle_db == pytest.approx(0, abs=0.1)


def test_somebody_who_talks_over_the_reply_does_not_make_it_say_so(canceller):
    near = np.concatenate((silence(1.0), syllables(5.0, seed=4), silence(1.0)))
    feed(Cleaned(canceller), REPLY, (ROOM.astype(float) + near).astype(np.int16))
    assert canceller.judge(1, 5.0).trouble == ""


def test_a_reply_that_nobody_told_of_is_told():
    canceller = Canceller(Microphone(), Subtraction())
    feed(Cleaned(canceller), silence(7.0), ROOM)
    assert canceller.judge(1, 5.0).trouble == "echo_no_reference"


def test_headphones_are_no_trouble(canceller):
    cleaned = Cleaned(canceller)
    feed(cleaned, REPLY, noise(len(REPLY)))
    judged = canceller.judge(1, 5.0)
    assert (judged.erle_db, judged.delay_ms, judged.trouble) == (None, None, "")
    assert cleaned.residual[250] == -100


def test_hardware_that_cancels_is_left_alone_and_is_no_trouble():
    canceller = Canceller(Microphone(echo_cancellation=False))
    cleaned = Cleaned(canceller)
    feed(cleaned, REPLY, noise(len(REPLY)))
    assert canceller.judge(1, 5.0).trouble == ""
    frame = Frame(noise(FRAME_SAMPLES).tobytes(), 200.0)
    assert canceller.clean(frame, engaged=True) is frame


def test_hardware_that_does_not_cancel_is_told():
    canceller = Canceller(Microphone(echo_cancellation=False))
    feed(Cleaned(canceller), REPLY, ROOM)
    judged = canceller.judge(1, 5.0)
    assert (judged.trouble, judged.erle_db) == ("echo_not_cancelled", 0.0)


def test_each_reply_is_judged_by_itself():
    apm = Subtraction(gain=0.0)
    canceller = Canceller(Microphone(), apm)
    feed(Cleaned(canceller), REPLY, ROOM)
    assert canceller.judge(1, 5.0).trouble == "echo_not_cancelled"
    assert canceller.judge(1, 5.0).erle_db is None
    apm.gain = 0.3
    feed(Cleaned(canceller), REPLY, ROOM, begin=107.0)
    assert canceller.judge(2, 5.0).trouble == ""


def test_a_reply_that_was_stopped_and_goes_on_is_judged_by_what_went_on(canceller):
    feed(Cleaned(canceller), REPLY, ROOM)
    canceller.judge(1, 5.0)
    feed(Cleaned(canceller), REPLY[: 2 * RATE], ROOM[: 2 * RATE], begin=107.0)
    assert canceller.judge(1, 6.0).trouble == ""


def test_what_is_left_of_us_is_hardly_louder_than_it_says():
    cleaned = Cleaned(Canceller(Microphone(), Subtraction(gain=0.27)))
    feed(cleaned, REPLY, ROOM)
    frames = np.frombuffer(b"".join(frame.pcm for frame in cleaned.frames), np.int16).reshape(-1, FRAME_SAMPLES)
    over = [level(frame) - told for frame, told in zip(frames[100:290], cleaned.residual[100:290], strict=True)]
    assert np.percentile(over, 80) < 6
    assert np.median(over) > -15
    assert cleaned.residual[20] == cleaned.residual[-1] == -100


def test_an_echo_that_hardly_stands_out_of_the_noise_does_not_make_deaf(canceller):
    cleaned = Cleaned(canceller)
    feed(cleaned, REPLY, echo(REPLY, LATENCY, gain=0.03) + noise(len(REPLY), 100, seed=5))
    assert max(cleaned.residual[110:300]) < -35


@pytest.mark.slow
@pytest.mark.parametrize("gain", [1.0, 10.0, 30.0])
def test_behind_a_strong_amplifier_our_echo_is_taken_out_as_well(gain):
    canceller = Canceller(Microphone())
    canceller.load()
    cleaned, soft = Cleaned(canceller), (REPLY / gain / 2).astype(np.int16)
    feed(cleaned, np.concatenate((soft, soft)), np.concatenate((ROOM, ROOM)))
    part = slice(9 * RATE, 13 * RATE)
    rest = np.frombuffer(b"".join(frame.pcm for frame in cleaned.linear), np.int16)
    assert level(ROOM[2 * RATE : 6 * RATE]) - level(cleaned.samples()[part]) > 25
    assert level(ROOM[2 * RATE : 6 * RATE]) - level(rest[part]) > 18


def test_the_reference_of_an_ordinary_amplifier_is_left_as_it_is():
    apm = Subtraction()
    given, process = [], apm.process
    apm.process = lambda reference, heard: (given.append(np.abs(reference).max()), process(reference, heard))
    feed(Cleaned(Canceller(Microphone(), apm)), REPLY, ROOM)
    assert max(given) == np.abs(REPLY).max()


class Amplified(Subtraction):
    """Makes what it leaves louder, as gain control does."""

    def __init__(self, by: float) -> None:
        super().__init__(gain=0.299)
        self.by = by

    def process(self, reference: np.ndarray, heard: np.ndarray) -> None:
        super().process(reference, heard)
        heard[:] = np.clip(heard * self.by, -32768, 32767)


@pytest.mark.parametrize("by", [1, 30])
@pytest.mark.parametrize("room", [10, 60])
def test_people_are_let_through_and_neither_our_rest_nor_the_room_whatever_the_gain(by, room):
    person = np.zeros(len(ROOM), np.int16)
    person[4 * RATE : 5 * RATE] = syllables(1.0, seed=4) // 4
    cleaned = Cleaned(Canceller(Microphone(), Amplified(by)))
    feed(cleaned, REPLY, ROOM + noise(len(ROOM), room, seed=5) + person)
    alone, talked_over = cleaned.let_through[60:200] + cleaned.let_through[250:300], cleaned.let_through[200:250]
    assert np.mean(alone) < 0.02 and np.mean(talked_over) > 0.3


class Gated(Subtraction):
    """Mutes every other frame while we play."""

    def process(self, reference: np.ndarray, heard: np.ndarray) -> None:
        super().process(reference, heard)
        if reference.any() and self.calls % 2:
            heard[:] = 0


def test_how_loud_the_room_is_is_learned_while_we_are_silent():
    cleaned = Cleaned(Canceller(Microphone(), Gated()))
    feed(cleaned, REPLY, ROOM + noise(len(ROOM), 60, seed=5))
    assert np.mean(cleaned.let_through[60:300]) < 0.02


@pytest.mark.parametrize("seconds", [0.02, 0.06, 1.0])
def test_a_microphone_that_gives_nothing_for_a_while_is_no_room(canceller, seconds):
    cleaned, played = Cleaned(canceller), np.concatenate((silence(1.0), REPLY))
    sound = echo(played, LATENCY) + noise(len(played), 60, seed=5)
    sound[RATE // 2 :][: round(seconds * RATE)] = 0
    feed(cleaned, played, sound)
    assert np.mean(cleaned.let_through[110:350]) < 0.02


class Skipping(Subtraction):
    """Mutes a frame now and then, whatever there is."""

    def process(self, reference: np.ndarray, heard: np.ndarray) -> None:
        super().process(reference, heard)
        if self.calls % 10 == 0:
            heard[:] = 0


def test_a_frame_that_the_suppressor_mutes_is_no_room():
    cleaned = Cleaned(Canceller(Microphone(), Skipping()))
    feed(cleaned, REPLY, ROOM + noise(len(ROOM), 60, seed=5))
    assert np.mean(cleaned.let_through[60:300]) < 0.02


def test_while_it_rests_all_is_let_through(canceller):
    cleaned = Cleaned(canceller)
    feed(cleaned, silence(1.0), noise(RATE))
    assert not any(cleaned.let_through)
    cleaned.engaged = False
    feed(cleaned, silence(1.0), noise(RATE), begin=101.0)
    assert all(cleaned.let_through[50:])


@pytest.mark.slow
@pytest.mark.parametrize("room", [10, 100])
@pytest.mark.parametrize("gain_control", [False, True])
@pytest.mark.parametrize("noise_suppression", [False, True])
def test_webrtc_lets_nothing_of_us_through_with_any_settings(noise_suppression, gain_control, room):
    settings = Microphone(noise_suppression=noise_suppression, gain_control=gain_control)
    canceller = Canceller(settings)
    canceller.load()
    cleaned = Cleaned(canceller)
    feed(cleaned, REPLY, ROOM + noise(len(ROOM), room, seed=5))
    assert np.mean(cleaned.let_through[100:300]) < 0.02


def test_webrtc_takes_our_echo_out():
    canceller = Canceller(Microphone())
    canceller.load()
    cleaned = Cleaned(canceller)
    feed(cleaned, REPLY, ROOM)
    part = slice(5 * RATE, 6 * RATE)
    assert level(ROOM[part]) - level(cleaned.samples()[part]) > 25
    assert canceller.judge(1, 5.0).trouble == ""


@pytest.mark.parametrize("late_ms", [0, 150, 330])
def test_the_linear_filter_takes_our_echo_out_however_wrong_the_driver_is(late_ms):
    cleaned = Cleaned(Canceller(Microphone(), Subtraction()))
    played = np.concatenate((silence(1.0), syllables(6.0)))
    sound = echo(played, LATENCY + 16 * late_ms)
    feed(cleaned, played, sound)
    rest = np.frombuffer(b"".join(frame.pcm for frame in cleaned.linear), np.int16)
    assert level(sound[5 * RATE : 7 * RATE]) - level(rest[5 * RATE : 7 * RATE]) > 15


class RunDry(Cleaned):
    """The card ran dry at 105: what is played from then on is heard 40 ms later than it would be."""

    def play(self, frame: Frame) -> None:
        late_s = 0.04 if frame.t > 105.01 else 0.0
        super().play(Frame(frame.pcm, frame.t + late_s))


def test_after_the_card_ran_dry_nothing_is_believed_to_be_of_people_until_it_is_learned_anew():
    cleaned = RunDry(Canceller(Microphone(), Subtraction(gain=0)))
    played = np.concatenate((silence(1.0), syllables(8.0)))
    sound = echo(played, LATENCY)
    feed(cleaned, played, np.concatenate((sound[: 5 * RATE], noise(2 * FRAME_SAMPLES), sound[5 * RATE : -640])))
    loud = np.abs(cleaned.samples().reshape(-1, FRAME_SAMPLES)).max(axis=1) > 100
    assert loud[255:295].mean() > 0.4, "the agent gets what there is"
    assert any(cleaned.let_through[100:250]) and not any(cleaned.let_through[255:295])
    assert any(cleaned.let_through[305:])
    assert cleaned.residual[255] == 0.0
    assert cleaned.residual[350] < -20


def test_where_samples_are_lost_again_and_again_it_says_that_nobody_could_talk_over_it(canceller):
    cleaned, person = Cleaned(canceller), np.concatenate((silence(1.0), syllables(6.0, seed=4) // 2))
    feed(cleaned, REPLY, (ROOM.astype(float) + person).astype(np.int16), lost=range(60, 300, 45))
    assert np.mean(cleaned.let_through[70:290]) < 0.1
    judged = canceller.judge(1, 5.0)
    assert judged.trouble == "echo_breaks" and "6 times" in judged.message


def test_what_is_lost_once_in_a_reply_or_while_nothing_plays_is_no_trouble(canceller):
    cleaned, short = Cleaned(canceller), round(2.5 * RATE)
    feed(cleaned, silence(4.0), noise(4 * RATE), begin=90.0, lost=range(0, 200, 20))
    feed(cleaned, REPLY[:short], ROOM[:short], lost=range(70, 71))
    assert canceller.judge(1, 1.5).trouble == ""


@pytest.mark.parametrize("pause_s", [0.04, 0.2, 0.5, 0.52, 0.6])
def test_who_talks_right_after_a_pause_of_ours_is_let_through(canceller, pause_s):
    cleaned = Cleaned(canceller)
    played = np.concatenate((REPLY[: 4 * RATE], silence(pause_s), syllables(3.0, seed=3)))
    person = np.concatenate((silence(4.0 + pause_s), syllables(3.0, seed=4) // 2))
    feed(cleaned, played, (echo(played, LATENCY).astype(float) + person).astype(np.int16))
    start = round((4.0 + pause_s) / FRAME_S)
    assert np.mean(cleaned.let_through[start : start + 50]) > 0.3


def test_what_the_microphone_lost_mutes_nobody_while_we_are_silent(canceller):
    cleaned = Cleaned(canceller)
    feed(cleaned, REPLY, ROOM)
    feed(cleaned, silence(4.0), noise(4 * RATE, 2000), begin=107.0, lost=range(100, 150))
    assert np.abs(cleaned.samples()[-2 * RATE :].reshape(-1, FRAME_SAMPLES)).max(axis=1).min() > 100
