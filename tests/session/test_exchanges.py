"""Every recorded exchange through the real session and socket: whole, cut anywhere, in any pieces, with anything between."""

import itertools
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from device import events as e
from device.session import replies as replies_module
from device.session import session as session_module
from tests.fakes import threads, wait_until
from tests.session.exchanges import CASES
from tests.session.hostile import names_of
from tests.session.replay import GOODBYE, Stage, Talker, Visit, wire
from tests.session.test_socket import BINARY, PING, PONG, TEXT, frame

each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture(autouse=True)
def no_delays(monkeypatch):
    """Connect again at once; and let a slow machine's pauses be none of the agent's."""
    monkeypatch.setattr(session_module, "delay_s", lambda attempt, jitter: 0.0)
    monkeypatch.setattr(replies_module, "PAUSE_S", 60.0)


def play(case, pieces_of, exchange=None):
    """Play an exchange as the pieces that `pieces_of` makes of its frames; what came of it."""
    frames = exchange or [wire(message) for message in case.exchange]

    def script(visit):
        for number, pieces in enumerate(pieces_of(frames)):
            if number == 0:
                visit.ready = True  # it is, or will be in the same breath
            for piece in pieces:
                visit.send(piece)
        visit.send(GOODBYE)

    with Stage(case, script) as stage:
        talker = Talker(case, stage.url)
        talker.converse()
    assert stage.violations == []
    return talker


def assert_as_recorded(talker, case):
    assert talker.facts() == case.facts
    assert list(talker.heard.values()) == case.replies


# --- as it is


@each_case
def test_an_exchange_is_understood_and_what_the_user_says_arrives(case):
    def script(visit):
        for number, message in enumerate(case.exchange):
            visit.ready = visit.ready or number == case.ready
            visit.send(wire(message))
            if number == case.ready:
                visit.wait(lambda: visit.numbers == [0, 1])
        visit.send(GOODBYE)

    with Stage(case, script) as stage:
        talker = Talker(case, stage.url)
        talker.converse()
    assert stage.violations == []
    assert_as_recorded(talker, case)
    assert len(stage.granted) == (len(stage.visits) if case.grant else 0)
    assert stage.visits[0].goodbye or case.protocol == "openai"  # whose end is an error


# --- in any pieces


def joined(frames):
    """All frames in one write."""
    yield [b"".join(frames)]


def in_segments(seed, sizes=(1, 1, 2, 3, 7, 60, 500, 5000)):
    """TCP segments that know nothing of frames."""

    def pieces_of(frames):
        chance = random.Random(seed)
        data = b"".join(frames)
        while data:
            size = chance.choice(sizes)
            yield [data[:size]]
            data = data[size:]

    return pieces_of


def fragments(message, chance):
    """A message as WebSocket fragments, some of them empty or of one byte, with pings and pongs between them."""
    payload, opcode = (message.encode(), TEXT) if isinstance(message, str) else (message, BINARY)
    count = chance.choice((0, 1, 1, 2, 5))
    cuts = sorted(chance.randrange(len(payload) + 1) for _ in range(count)) + [1] * chance.randrange(2)
    cuts = [0, *sorted(cuts), len(payload)]
    for number, (begin, end) in enumerate(itertools.pairwise(cuts)):
        yield frame(payload[begin:end], 0 if number else opcode, fin=number == len(cuts) - 2)
        if chance.random() < 0.3:
            yield frame(chance.randbytes(chance.randrange(126)), chance.choice((PING, PONG)))


def in_fragments(case, seed):
    chance = random.Random(seed)
    return [b"".join(fragments(message, chance)) for message in case.exchange]


@each_case
def test_frames_joined_in_one_segment_make_no_difference(case):
    assert_as_recorded(play(case, joined), case)


@each_case
def test_frames_split_into_segments_make_no_difference(case):
    assert_as_recorded(play(case, in_segments(1)), case)


@each_case
def test_messages_split_into_fragments_with_pings_between_them_make_no_difference(case):
    assert_as_recorded(play(case, in_segments(2), in_fragments(case, 2)), case)


@pytest.mark.slow
@each_case
def test_no_other_way_to_split_them_makes_a_difference(case):
    for seed in range(20):
        assert_as_recorded(play(case, in_segments(seed), in_fragments(case, seed)), case)
    assert_as_recorded(play(case, in_segments(0, sizes=(1,))), case)


@each_case
def test_text_sent_as_binary_makes_no_difference(case):
    texts = [wire(message.encode() if isinstance(message, str) else message) for message in case.exchange]
    assert_as_recorded(play(case, joined, texts), case)


# --- with anything between

UNKNOWN = [
    '{"type": "earshot.future", "payload": {"a": [1, {"b": null}]}, "x": null}', '{"type": ""}', '{"type": "Ready"}',
    '{"type": "' + "x" * 70_000 + '"}', '{"type": "earshot.future", "error": {"code": "AUTH_FAILED"}, "reason": 7}',
]  # fmt: skip
MALFORMED = ["", "ready", "[]", "null", "{", '{"type": null}', '{"payload": {}}', "\ufffd\u2028", "[" * 50_000]
BINARY_SOUND = ("workbuddy", "savants")


def between(case, seed, kinds):
    """The exchange with one of `kinds` before, between and after its messages."""
    chance = random.Random(seed)
    for message in case.exchange[:-1]:
        yield from (wire(chance.choice(kinds)), wire(message))
    yield from (wire(chance.choice(kinds)), wire(case.exchange[-1]))


@each_case
def test_messages_that_nobody_knows_make_no_difference(case):
    kinds = UNKNOWN + ([b"", b"\x01"] if case.protocol in BINARY_SOUND else [text.encode() for text in UNKNOWN])
    assert_as_recorded(play(case, joined, list(between(case, 3, kinds))), case)


@each_case
def test_messages_that_are_none_are_told_of_once_and_make_no_difference(case):
    kinds = MALFORMED + ([] if case.protocol in BINARY_SOUND else [b"", b"\x00", b"\xff\xfe" * 320, bytes(640)])
    talker = play(case, joined, list(between(case, 4, kinds)))
    told = [event for event in talker.facts() if getattr(event, "code", "") == "malformed_message"]
    assert len(told) == 1 and isinstance(told[0], e.AgentErred)
    assert [event for event in talker.facts() if event not in told] == case.facts
    assert list(talker.heard.values()) == case.replies


def with_more_fields(value, names, odd):
    """A message with unknown fields, and with all known ones that it lacks as null."""
    if not isinstance(value, dict):
        return value
    known = {name: with_more_fields(inner, names, odd) for name, inner in value.items()}
    return {**dict.fromkeys(names), "earshot_future": odd, **known}


@each_case
def test_unknown_fields_and_null_ones_make_no_difference(case):
    names = names_of(case.protocol)
    for odd in (None, {"type": "error"}, [[]], 1e308):
        more = [
            json.dumps(with_more_fields(json.loads(message), names, odd)) if isinstance(message, str) else message
            for message in case.exchange
        ]
        assert_as_recorded(play(case, joined, [wire(message) for message in more]), case)


# --- cut anywhere


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def at_once(visit):
    """Cut it while the user speaks."""


def cut_at(case, count, part, cut, settled):
    """Say `count` messages and `part` of the next, wait until it is `settled`, and cut the connection."""

    def script(visit):
        for number, message in enumerate(case.exchange[:count]):
            visit.ready = visit.ready or number == case.ready
            visit.send(wire(message))
        data = wire(case.exchange[count])
        visit.send(data[: min(round(len(data) * part), len(data) - 1)])
        if visit.ready:
            settled(visit)
        cut(visit)

    return script


def cut_again_and_again(case, places, settles=True):
    """One session whose connections are cut at these places, one after the other; then the exchange is played whole.

    `settles`: each cut waits until all that was said has come. What comes of it, and how many frames the agent is owed.
    """
    before = open_files()
    talker = None
    owed = []

    def settled(visit):
        ready = sum(visit.ready for visit in stage.visits)
        visit.wait(lambda: talker.happened[e.SessionReady] == ready and set(stage.numbers()) == set(range(talker.said)))

    def whole(visit):
        for number, message in enumerate(case.exchange):
            visit.ready = visit.ready or number == case.ready
            visit.send(wire(message))
            if number == case.ready:
                settled(visit)
                owed.append(talker.said)
        visit.send(GOODBYE)

    # A reset throws away what has come and was not read: only once it is settled can nothing be lost by that.
    ways = (Visit.hang_up, Visit.break_off) if settles else (Visit.hang_up,)
    when = settled if settles else at_once
    cuts = [cut_at(case, *place, ways[number % len(ways)], when) for number, place in enumerate(places)]
    with Stage(case, *cuts, whole) as stage:
        talker = Talker(case, stage.url, says_at=(e.Connected, e.SessionReady, e.ConnectionLost))
        talker.converse()
    assert stage.violations == []
    wait_until(lambda: open_files() <= before)
    assert not any(threads(name) for name in ("link-receive", "link-send", "link-ahead"))
    return talker, stage, owed[0]


def assert_nothing_was_lost(case, talker, stage, owed, cuts):
    ends = case.protocol == "openai"  # with an error that asks for another connection
    assert talker.happened[e.ConnectionLost] == cuts + ends
    assert talker.happened[e.Connected] == len(stage.visits) == cuts + 1 + ends
    assert talker.happened[e.SessionReady] == sum(visit.ready for visit in stage.visits)
    assert talker.facts()[-1] == case.facts[-1] and talker.happened[e.WorkerDied] == 0
    assert len(stage.granted) == (len(stage.visits) if case.grant else 0)
    assert all(visit.numbers == sorted(visit.numbers) for visit in stage.visits)
    assert set(range(owed)) <= set(stage.numbers()) <= set(range(talker.said))


def doubled(stage):
    """The frames that came more than once."""
    return [number for number, count in Counter(stage.numbers()).items() if count > 1]


def told_apart(case):
    """The places between messages that differ from one another, and those in the middle of such messages."""
    for count, message in enumerate(case.exchange):
        if count == 0 or message != case.exchange[count - 1]:
            yield count, 0.0 if count % 2 else 0.5


@each_case
def test_a_cut_costs_one_connection_and_no_frame_is_lost_or_doubled(case):
    places = list(told_apart(case))
    talker, stage, owed = cut_again_and_again(case, places)
    assert_nothing_was_lost(case, talker, stage, owed, len(places))
    assert doubled(stage) == []


@each_case
def test_a_cut_while_the_user_speaks_loses_nothing_and_doubles_no_more_than_was_on_its_way(case):
    places = list(told_apart(case))
    talker, stage, owed = cut_again_and_again(case, places, settles=False)
    assert_nothing_was_lost(case, talker, stage, owed, len(places))
    # That a frame has arrived may not be known when the connection breaks; three are said around each.
    assert len(doubled(stage)) <= 3 * len(places)


@pytest.mark.slow
@each_case
@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_a_cut_after_and_within_every_message_costs_no_more(case, part):
    places = [(count, part) for count in range(len(case.exchange))]
    for order in (places, places[::-1]):
        talker, stage, owed = cut_again_and_again(case, order)
        assert_nothing_was_lost(case, talker, stage, owed, len(places))
        assert doubled(stage) == []


def test_after_a_cut_the_conversation_goes_on():
    _, stage, _ = cut_again_and_again(CASES["datagrid"], [(1, 0.0), (3, 0.0)])
    first, *later = [json.loads(visit.messages[0])["payload"] for visit in stage.visits if visit.messages]
    assert "conversation_id" not in first and [start["conversation_id"] for start in later] == ["c-1"] * len(later)


@each_case
def test_no_credential_is_used_twice(case):
    _, stage, _ = cut_again_and_again(case, [(case.ready + 1, 0.0)] * 3)
    if case.grant:
        brought = [visit.path + "".join(visit.messages[:1]) for visit in stage.visits]
        assert len(set(brought)) == len(brought) == len(stage.granted)
