"""All protocols against a hostile agent: whatever it answers and sends, in whatever order, two errors escape and nothing else.

What each one makes of hostile messages of its own is in the protocol's own test.
"""

import functools
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.config import Agent
from device.errors import SessionError
from device.session.credentials import Secret
from device.session.protocol import LONGEST_TEXT, Answer, Audio, Ended, MalformedError, Request, Send
from device.session.protocols import PROTOCOLS
from tests.session.exchanges import CASES
from tests.session.hostile import ODD, messages, names_of, words_of

KEY = "sk_a-very-secret-key"
LONGEST_SENTENCE = 2 * LONGEST_TEXT + 1000
"""Of an error: it may quote two texts of the agent's."""
LONGEST_ORDER = 20_000
each_protocol = pytest.mark.parametrize("name", PROTOCOLS)
each_way_in = pytest.mark.parametrize("way", CASES)

VALUES = st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=10)


def objects(name):
    """JSON objects of the protocol's own words, in disorder."""
    words, names = st.sampled_from(words_of(name)), st.sampled_from(names_of(name))
    value = words | VALUES
    inner = st.dictionaries(names, value | st.dictionaries(names, value, max_size=2), max_size=3)
    return st.builds(
        lambda kind, fields: {**fields, "type": kind},
        words,
        st.dictionaries(names, value | inner | st.lists(value | inner, max_size=2), max_size=4),
    )


@functools.cache
def acts(name):
    """What may happen to a protocol: an answer, a message, a close, another connection."""
    fields = objects(name)
    body = fields.map(json.dumps).map(str.encode) | st.binary(max_size=50)
    near = st.sampled_from(list(itertools.islice(messages(name, 7), 400)))
    return st.one_of(
        st.tuples(st.just("receive"), fields.map(json.dumps) | near),
        st.tuples(st.just("granted"), body),
        st.tuples(st.just("denied"), st.integers(100, 599), body),
        st.tuples(st.just("closed"), st.none() | st.integers(0, 65_535)),
        st.tuples(st.just("opening")),
    )


def made(case):
    """The protocol, about to connect for the first time."""
    url = "" if case.protocol == "local" else "https://voice.example"
    talk = PROTOCOLS[case.protocol](Agent(protocol=case.protocol, **{"url": url, **case.agent}), Secret(KEY), 1)
    if talk.credential() is not None:
        talk.granted(json.dumps(case.grant("https://voice.example", 1)).encode())
    return talk


def assert_error(error):
    assert len(str(error)) <= LONGEST_SENTENCE and KEY not in str(error)
    if isinstance(error, SessionError):
        assert error.code and len(error.code) < 50
        assert 0 <= (getattr(error, "wait_s", None) or 0.0) <= 100_000.0


def assert_fact(fact):
    if isinstance(fact, Audio):
        assert len(fact.pcm) % 2 == 0 and len(fact.turn) <= LONGEST_TEXT
    elif isinstance(fact, Send):
        json.loads(fact.message)
        assert len(fact.message) <= LONGEST_ORDER
    else:
        values = fact if isinstance(fact, tuple) else [getattr(fact, name) for name in fact.__slots__]
        for value in values:
            assert not isinstance(value, str) or (len(value) <= LONGEST_TEXT and value.isprintable()), repr(fact)
    assert KEY not in repr(fact)


def assert_still_works(talk):
    """Every order can still be given, and makes messages that can be sent."""
    sent = [*talk.opening(), *(talk.text("hello") or []), *talk.interrupt(), *talk.heard("resp_1", 0.5), *talk.stop()]
    assert all(0 < len(message.encode()) <= LONGEST_ORDER for message in sent)
    sound = talk.audio(bytes(640))
    assert isinstance(sound, bytes) or json.loads(sound)
    request = talk.request()
    assert isinstance(request, Request) and isinstance(talk.likely(), str)
    assert 8000 <= talk.speaks <= 48_000 and 8000 <= talk.hears <= 48_000
    talk.credential()


def do(talk, act):
    """Let it happen; the facts that came of it."""
    try:
        match act:
            case ("receive", message):
                for fact in talk.receive(message):
                    assert_fact(fact)
            case ("granted", answer):
                talk.granted(answer)
            case ("denied", status, body):
                verdict = talk.denied(Answer(status, body, "https://voice.example/x", 7.0))
                assert isinstance(verdict, SessionError)
                assert_error(verdict)
            case ("closed", code):
                verdict = talk.closed(code)
                assert isinstance(verdict, Ended | SessionError)
                assert isinstance(verdict, Ended) or assert_error(verdict) is None
            case ("opening",):
                talk.credential()
                talk.opening()
    except (MalformedError, SessionError) as error:
        assert_error(error)


def assert_survives(way, data, most):
    """Up to `most` acts, in whatever order."""
    talk = made(CASES[way])
    for act in data.draw(st.lists(acts(CASES[way].protocol), min_size=1, max_size=most)):
        do(talk, act)
        assert_still_works(talk)


@each_way_in
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_whatever_happens_in_whatever_order_two_errors_escape_and_every_order_still_works(way, data):
    assert_survives(way, data, 8)


@pytest.mark.slow
@each_way_in
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_same_at_length(way, data):
    assert_survives(way, data, 20)


@each_way_in
def test_a_thousand_damaged_messages_in_a_row_change_nothing_that_matters(way):
    talk = made(CASES[way])
    for message in itertools.islice(messages(CASES[way].protocol, 1), 1000):
        do(talk, ("receive", message))
    assert_still_works(talk)


@each_protocol
def test_the_words_of_a_protocol_are_those_of_its_messages(name):
    exchanges = [case.exchange for case in CASES.values() if case.protocol == name]
    kinds = {json.loads(text)["type"] for exchange in exchanges for text in exchange if isinstance(text, str)}
    assert len(kinds & set(words_of(name))) >= len(kinds) / 2
    assert {"code", "message"} <= set(names_of(name))
