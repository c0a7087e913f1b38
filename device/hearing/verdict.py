"""Whether the echo canceller did its work while a reply was played, and if not, why probably. Pure."""

from dataclasses import dataclass

from device.audio import FRAME_S
from device.events import EchoMeasured

WORKS_DB = 6.0
"""Below this it does not cancel."""
_HARDWARE_DB = -20.0
"""Hardware that cancels leaves less of what we play than that."""
_TELL_S = 1.0
"""Of what is shorter nothing is said."""
_SILENT_S = 3.0
"""Longer than people speak without a pause."""

_OFTEN = 3
"""Once, as when the delay is found, and twice, as when the card stumbles, it may begin anew in any reply."""

_NO_REFERENCE = (
    "The echo canceller was not told what the speaker played, so it could take nothing out. "
    "Restart the speaker: systemctl restart earshot."
)
_SILENT_REFERENCE = (
    "The room was loud while the speaker played silence, so the echo canceller could take nothing out. "
    "Another program may use the same loudspeaker: what it plays is never cancelled."
)
_FAR = (
    "What the speaker plays is heard {ms:+.0f} ms from when its driver says so, out of the echo canceller's reach. "
    "A sound server or a Bluetooth loudspeaker may hold it back: "
    "let [speaker] device be the card itself (see `earshot devices`)."
)
_EARLY = (
    "What the speaker plays is heard {ms:.0f} ms before the echo canceller is told of it, so it cannot be taken out. "
    "The processor may be overloaded: see what else runs on it."
)
_BREAKS = (
    "The echo canceller had to begin anew {count} times while the speaker played, because sound was lost on its way: "
    "nobody was heard talking over it. "
    "The processor may be overloaded, or a USB device may stumble: see what else runs on it."
)
_NOT_CANCELLED = (
    "The speaker hears itself: echo cancellation takes only {db:.0f} dB of its voice away, and 30 are usual. "
    "It may be so loud that something rattles or is clipped: "
    "turn down [speaker] volume or the microphone's gain, or move the two apart."
)
_NOT_BY_HARDWARE = (
    "The speaker hears itself: [microphone] echo_cancellation is false, but the hardware does not cancel either. "
    "Set it to true, or connect the loudspeaker to the device that the microphone belongs to."
)


@dataclass(slots=True)
class Found:
    """What was seen since the last reply ended."""

    played: int = 0
    """Frames of what we played that we were told of,"""
    silent: int = 0
    """of which so many are silent."""
    heard: int = 0
    """Frames of the microphone;"""
    sounding: int = 0
    """in so many of them we sound,"""
    unsure: int = 0
    """and in so many of these nobody was believed to talk over us, for the canceller had just begun anew."""
    breaks: int = 0
    """How often it began anew while we sounded: the delay was found, samples were lost, the reference was made louder."""
    silence_heard: int = 0
    """Frames in which silence of ours is heard,"""
    silence_loud: int = 0
    """of which so many are loud."""
    looks: int = 0
    """How often we were looked for in what the microphone heard;"""
    found: int = 0
    """how often we were in it;"""
    left: int = 0
    """how often, too, in what was made of it."""


def verdict(
    found: Found,
    reply: int,
    played_s: float,
    *,
    erle_db: float | None,
    lead_s: float,
    wrong_s: float | None,
    far_s: float | None,
    return_db: float,
    ours: bool,
) -> EchoMeasured:
    """Of `reply`, of which `played_s` seconds were played. `ours`: it is not the hardware that is to cancel.

    `far_s`: a delay out of reach; `wrong_s`: how much later we are heard than the driver says, and `lead_s` how much later
    than we were told of it. `return_db`: how much louder we are heard than we play.
    """
    seen = 2 * found.found >= found.looks > 0
    """People who talk over us, and pauses, may hide us half of the time."""
    erle = erle_db if seen else None
    delay = None if wrong_s is None or not seen else wrong_s * 1000

    def measured(trouble: str = "", message: str = "") -> EchoMeasured:
        return EchoMeasured(reply, erle, delay, trouble, message)

    if played_s < _TELL_S or found.heard * FRAME_S < played_s / 2:  # the microphone was muted
        return EchoMeasured(reply)
    if ours and found.played * FRAME_S < played_s / 2:
        return measured("echo_no_reference", _NO_REFERENCE)
    if ours and _is_silent(found):
        return measured("echo_silent_reference", _SILENT_REFERENCE)
    if ours and far_s is not None:
        return measured("echo_delay", _FAR.format(ms=far_s * 1000))
    if found.breaks >= _OFTEN and 2 * found.unsure > found.sounding:
        return measured("echo_breaks", _BREAKS.format(count=found.breaks))
    if erle is None or erle >= WORKS_DB or 2 * found.left < found.found or found.left < 2:
        return measured()
    if not ours and return_db <= _HARDWARE_DB:
        return measured()
    if ours and lead_s < 0:
        return measured("echo_delay", _EARLY.format(ms=-lead_s * 1000))
    return measured("echo_not_cancelled", _NOT_CANCELLED.format(db=max(erle, 0.0)) if ours else _NOT_BY_HARDWARE)


def _is_silent(found: Found) -> bool:
    """Silence was played, for longer than people speak without a pause, and the room was loud all the time."""
    long = found.silence_heard * FRAME_S >= _SILENT_S
    return long and found.silent >= 0.9 * found.played and found.silence_loud >= 0.9 * found.silence_heard
