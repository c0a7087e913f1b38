"""The vocabulary: events are facts in the past tense, effects are orders in the imperative.

Every part puts events into one inbox; `brain.step` answers with effects; `app` carries them out.
`session` numbers sessions and `reply` numbers replies, both from 1 upwards, so that a fact about an old one is seen to be old.
"""

from dataclasses import dataclass
from enum import StrEnum


class Chime(StrEnum):
    """Sounds the speaker makes by itself."""

    WAKE = "wake"
    END = "end"
    ERROR = "error"
    MUTE = "mute"
    UNMUTE = "unmute"
    TIMER = "timer"


class By(StrEnum):
    """Who cut a reply short."""

    BUTTON = "button"
    SPEECH = "speech"
    WAKE_WORD = "wake_word"
    AGENT = "agent"


# --- Events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WakeHeard:
    """A wake word was recognised. `audio_t` is the capture time of the frame that fired (seconds, CLOCK_MONOTONIC)."""

    word: str
    score: float
    audio_t: float


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A sound was like the wake word `word`, but did not count. `audio_t` is that of its highest score.

    `why`: score (below its threshold), patience, level, speech, voice (nobody who is enrolled), playback (we said it ourselves)
    or echo (nothing was left of it when our echo was taken out).
    """

    word: str
    score: float
    audio_t: float
    why: str


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody began to speak during a session."""


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """They stopped."""


@dataclass(frozen=True, slots=True)
class SpeechSuspected:
    """While we play, something begins to sound like speech of somebody else."""


@dataclass(frozen=True, slots=True)
class SpeechConfirmed:
    """Somebody has been talking over what we play for `conversation.barge_in_ms`, since `since` (seconds, CLOCK_MONOTONIC)."""

    since: float


@dataclass(frozen=True, slots=True)
class StopWordHeard:
    """While we play, a stop word was recognised. `audio_t` is the capture time of the frame that fired, as in `WakeHeard`."""

    word: str
    audio_t: float


@dataclass(frozen=True, slots=True)
class EchoMeasured:
    """How well our own sound was taken out of what the microphone heard, while `reply` was played.

    `erle_db`: by how much, and `delay_ms`: how much later than the driver says it is heard; None where too little of us was
    heard to tell. `trouble` is a stable name of what is wrong, empty where nothing is, and `message` the sentence for it.
    """

    reply: int
    erle_db: float | None = None
    delay_ms: float | None = None
    trouble: str = ""
    message: str = ""

    @property
    def works(self) -> bool | None:
        """Whether the canceller does; None where too little of us was heard to tell."""
        return False if self.trouble else None if self.erle_db is None else True


@dataclass(frozen=True, slots=True)
class NightFell:
    """The hours of `night.hours` have begun."""


@dataclass(frozen=True, slots=True)
class DayBroke:
    """They are over."""


@dataclass(frozen=True, slots=True)
class ButtonPressed:
    """The button went down."""


@dataclass(frozen=True, slots=True)
class ButtonHeld:
    """It has been down for a second."""


@dataclass(frozen=True, slots=True)
class ButtonReleased:
    """It came up again."""


@dataclass(frozen=True, slots=True)
class TextTyped:
    """Somebody at this machine wrote what the agent is to take as said."""

    text: str


@dataclass(frozen=True, slots=True)
class QuietAsked:
    """Somebody at this machine wants whatever goes on to end."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection to the agent is open. `steps`: which of name, tcp, tls, token, upgrade it took, with its seconds."""

    session: int
    steps: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """The agent accepted the session and named it; either name may be missing."""

    session: int
    session_id: str | None = None
    conversation_id: str | None = None


@dataclass(frozen=True, slots=True)
class SessionReady:
    """The agent takes audio from now on."""

    session: int


@dataclass(frozen=True, slots=True)
class FirstAudioSent:
    """The first microphone frame of a connection has left."""

    session: int


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    """The first audio of a reply was received. What is heard is another matter: see `PlaybackStarted`."""

    session: int
    reply: int


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """The agent uses a tool; `status` is started, completed or failed."""

    session: int
    tool: str
    status: str


@dataclass(frozen=True, slots=True)
class Transcribed:
    """Words of the conversation; `role` is user or agent."""

    session: int
    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Cited:
    """The agent named `count` sources."""

    session: int
    count: int


@dataclass(frozen=True, slots=True)
class AgentInterrupted:
    """The agent broke off its reply, numbered `reply`: what is queued of it must not be heard."""

    session: int
    reply: int


@dataclass(frozen=True, slots=True)
class AgentErred:
    """The agent reported an error that does not end the session."""

    session: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class VolumeAsked:
    """The agent on this machine asked for a volume: `to` percent, or `by` percent more."""

    session: int
    to: int | None = None
    by: int | None = None


@dataclass(frozen=True, slots=True)
class TimerSet:
    """The agent on this machine asked the speaker to ring in `in_s` seconds."""

    session: int
    name: str
    in_s: float


@dataclass(frozen=True, slots=True)
class TimerCancelled:
    """That timer shall not ring."""

    session: int
    name: str


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """The network failed, or the agent; the link tries again in `in_s` seconds. `code` is a stable name of `why`."""

    session: int
    in_s: float
    code: str
    why: str


@dataclass(frozen=True, slots=True)
class SessionRefused:
    """The session cannot be had, and trying again would not help."""

    session: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The session is over and its socket closed."""

    session: int
    reason: str


@dataclass(frozen=True, slots=True)
class PlaybackStarted:
    """The first samples of a reply were written to the sound card."""

    reply: int


@dataclass(frozen=True, slots=True)
class PlaybackStopped:
    """The last samples of all replies up to `reply` were written; `reason` is drained, interrupted or stopped.

    `played_s` is how much was played of the `last` that was heard.
    """

    reply: int
    reason: str
    last: int = 0
    played_s: float = 0.0


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """A thread that must live has ended, or the microphone gives no frames."""

    worker: str
    message: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """`frames` were thrown away at `where`, because a queue was full, a frame late or a disk full."""

    where: str
    frames: int


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The process was told to end (SIGTERM, SIGINT)."""


@dataclass(frozen=True, slots=True)
class FirstReady:
    """All parts live, for the first time since this release was installed."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The time in `State.deadline` has come."""


Event = (
    WakeHeard
    | NearMiss
    | SpeechStarted
    | SpeechEnded
    | SpeechSuspected
    | SpeechConfirmed
    | StopWordHeard
    | EchoMeasured
    | NightFell
    | DayBroke
    | ButtonPressed
    | ButtonHeld
    | ButtonReleased
    | TextTyped
    | QuietAsked
    | Connected
    | SessionStarted
    | SessionReady
    | FirstAudioSent
    | ReplyStarted
    | ToolCalled
    | Transcribed
    | Cited
    | AgentInterrupted
    | AgentErred
    | VolumeAsked
    | TimerSet
    | TimerCancelled
    | ConnectionLost
    | SessionRefused
    | SessionEnded
    | PlaybackStarted
    | PlaybackStopped
    | WorkerDied
    | Dropped
    | StopAsked
    | FirstReady
    | DeadlinePassed
)


# --- Effects --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartSession:
    """Open a session with the agent, to go on with that conversation where it is not None."""

    session: int
    conversation_id: str | None = None


@dataclass(frozen=True, slots=True)
class InterruptAgent:
    """Tell the agent to be quiet."""

    by: By


@dataclass(frozen=True, slots=True)
class SendText:
    """Give the agent `text` as if it had been said."""

    text: str


@dataclass(frozen=True, slots=True)
class TellHeard:
    """Tell the agent that so much of a reply, which was cut off, had been played, and nothing of later ones."""

    reply: int
    played_s: float


@dataclass(frozen=True, slots=True)
class StopSession:
    """End the session in good form: tell the agent, wait for its farewell, close. `reason` is what `SessionEnded` will say."""

    reason: str


@dataclass(frozen=True, slots=True)
class OpenEar:
    """Forward to `session` what was captured from `since` on (seconds, CLOCK_MONOTONIC), then what is captured.

    `speaking`: somebody is speaking already, so `SpeechEnded` is owed even if no start was seen.
    """

    session: int
    since: float
    speaking: bool


@dataclass(frozen=True, slots=True)
class CloseEar:
    """Forward no more."""


@dataclass(frozen=True, slots=True)
class SendHeld:
    """Forward what is held back while we play: what was captured from `since` on (seconds, CLOCK_MONOTONIC) with nothing
    suppressed in it, for somebody talks there."""

    since: float


@dataclass(frozen=True, slots=True)
class OpenMicrophone:
    """Open the input stream."""


@dataclass(frozen=True, slots=True)
class CloseMicrophone:
    """Close the input stream: this is what mute means."""


@dataclass(frozen=True, slots=True)
class DuckPlayback:
    """Play replies far softer, for somebody may be about to speak."""


@dataclass(frozen=True, slots=True)
class RaisePlayback:
    """Play replies as loud as before."""


@dataclass(frozen=True, slots=True)
class StopPlayback:
    """Silence all replies up to number `reply`, and whatever of them still arrives. It ends a `DuckPlayback`.

    `keep`: put what has come of the one that is heard aside, until `ResumePlayback`, another `StopPlayback` or another reply.
    Of one whose agent was interrupted no more comes: the session drops what was on its way.
    """

    reply: int
    reason: str
    keep: bool = False


@dataclass(frozen=True, slots=True)
class ResumePlayback:
    """Play on what was put aside of `reply`, if it is still there."""

    reply: int


@dataclass(frozen=True, slots=True)
class JudgeEcho:
    """Say how well our own sound was cancelled while `reply` was played, of which `played_s` seconds were heard."""

    reply: int
    played_s: float


@dataclass(frozen=True, slots=True)
class PlayChime:
    """Make a sound of our own, which the agent must not hear."""

    chime: Chime


@dataclass(frozen=True, slots=True)
class SayReason:
    """Say in words, after what chime there is, why there is no session: `code` is that of the error; or that all is "ready"."""

    code: str


@dataclass(frozen=True, slots=True)
class StopChime:
    """Break off the chime and the words that sound."""


@dataclass(frozen=True, slots=True)
class SetVolume:
    """Play at `percent` from now on."""

    percent: int


@dataclass(frozen=True, slots=True)
class Exit:
    """Stop everything and leave with `code`."""

    code: int


Effect = (
    StartSession
    | InterruptAgent
    | SendText
    | TellHeard
    | StopSession
    | OpenEar
    | CloseEar
    | SendHeld
    | OpenMicrophone
    | CloseMicrophone
    | DuckPlayback
    | RaisePlayback
    | StopPlayback
    | ResumePlayback
    | JudgeEcho
    | PlayChime
    | SayReason
    | StopChime
    | SetVolume
    | Exit
)
