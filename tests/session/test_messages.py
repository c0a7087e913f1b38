"""What the protocols' messages have in common."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.session.protocol import MalformedError
from device.session.protocols.messages import endpoint, fields_or_pcm, token_of

PATHS = ("/v1/token", "/v1/talk")


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("https://a.example", "wss://a.example/v1/talk"),
        ("wss://a.example/", "wss://a.example/v1/talk"),
        ("http://127.0.0.1:9", "ws://127.0.0.1:9/v1/talk"),
        ("https://a.example/eu/", "wss://a.example/eu/v1/talk"),
        ("https://a.example/v1/token", "wss://a.example/v1/talk"),
        ("https://a.example/eu/v1/talk/", "wss://a.example/eu/v1/talk"),
        ("https://a.example/?r=1", "wss://a.example/v1/talk?r=1"),
        ("https://[::1]:9/x#part", "wss://[::1]:9/x/v1/talk"),
    ],
)
def test_an_endpoint_is_below_the_base(base, expected):
    assert endpoint(base, "wss", "/v1/talk", PATHS) == expected


def test_a_token_is_a_text_that_fits_into_a_header():
    assert token_of("ey.J-_=") == "ey.J-_="


@pytest.mark.parametrize("value", [None, "", 7, [], {}, b"x", "a\r\nb", "\x7f", "ü", "\ud800"])
def test_what_is_no_token_is_malformed(value):
    with pytest.raises(MalformedError):
        token_of(value)


@pytest.mark.parametrize("text", ['{"type": "x"}', '{"type":7,"n":"}"}'])
def test_json_is_the_same_in_text_and_in_a_binary_message(text):
    assert fields_or_pcm(text) == fields_or_pcm(text.encode()) == json.loads(text)


@pytest.mark.parametrize("message", ["", "x", "[]", "7", "{"])
def test_text_that_is_no_object_is_malformed(message):
    with pytest.raises(MalformedError):
        fields_or_pcm(message)


@pytest.mark.parametrize("message", [b"", b"{}", b"{" + bytes(638) + b"}", b'{"kind":"x"}'])
def test_binary_that_only_looks_like_json_is_sound(message):
    assert fields_or_pcm(message) == message


@given(st.binary(max_size=100))
def test_sound_has_whole_samples(pcm):
    assert fields_or_pcm(pcm) == pcm[: len(pcm) & ~1]
