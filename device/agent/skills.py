"""What the agent can do. A new skill is one function here:

    @skill("what is my name | who am i")
    def name(words: list[str], context: Context) -> str:
        return "I never asked."

It takes the words that were said, in lower case and without the wake word, and returns the sentence to say ("" for
none), or an iterator of sentences, of which the first is spoken while the others are made. It must return at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from device.agent.grammar import Command
from device.agent.quantities import duration_words, number_in, number_words, seconds_in
from device.agent.stories import STORIES
from device.agent.timers import Timers

Reply = str | Iterator[str]
COMMANDS: list[Command] = []
VOLUME_STEP = 10


@dataclass
class Context:
    """What a skill may look at, and what it may ask for besides speech."""

    now: datetime
    timers: Timers
    stories_told: int = 0
    orders: list[dict[str, Any]] = field(default_factory=list)
    """Payloads of `device` messages, sent before the reply."""
    over: bool = False
    """Whether the session ends when the reply has been played."""


Skill = Callable[[list[str], Context], Reply]


def skill(phrase: str) -> Callable[[Skill], Skill]:
    """Make a function answer to `phrase` (its language is described in grammar.py)."""

    def register(function: Skill) -> Skill:
        COMMANDS.append(Command(function.__name__, phrase, function))
        return function

    return register


@skill("what time is it | (what is | what's) the time | tell me the time")
def time(words: list[str], context: Context) -> str:
    hour, minute = context.now.hour % 12 or 12, context.now.minute
    part = "morning" if context.now.hour < 12 else "afternoon" if context.now.hour < 18 else "evening"
    minutes = "" if not minute else f" {'oh ' if minute < 10 else ''}{number_words(minute)}"
    return f"It is {number_words(hour)}{minutes} in the {part}."


@skill("(what day | what date) is it [today] | (what is | what's) (the date | today's date) [today]")
def date(words: list[str], context: Context) -> str:
    return f"Today is {context.now:%A}, {context.now:%B} {context.now.day}, {context.now.year}."


@skill("(set | start) a timer for <duration> | (set | start) a <number> (second | minute | hour) timer")
def set_timer(words: list[str], context: Context) -> str:
    seconds = seconds_in(words)
    if not seconds:
        return "A timer needs at least one second."
    timer = context.timers.add(seconds)
    if timer is None:
        return "There are too many timers already. Cancel one first."
    context.orders.append({"action": "timer_set", "name": timer.name, "in_s": seconds})
    number = "" if timer.name.endswith("timer 1") else f", as timer {_spoken(timer.name)}"
    return f"A timer for {duration_words(seconds)} is running{number}."


def _spoken(name: str) -> str:
    return number_words(int(name.rpartition(" ")[2]))


@skill("what timers are (set | running) | (list | read) (my | the | all) timers | how much time is left")
def list_timers(words: list[str], context: Context) -> str:
    running = context.timers.running()
    if not running:
        return "No timer is running."
    parts = [f"timer {_spoken(each.name)} has {duration_words(context.timers.left(each))} left" for each in running]
    sentence = ", and ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


@skill("cancel (the | my) timer | cancel timer <number> | cancel (all | all the | all my) timers")
def cancel_timer(words: list[str], context: Context) -> str:
    running = [timer.name for timer in context.timers.running()]
    number = number_in(words)
    if not running:
        return "No timer is running."
    if number is not None:
        names = [name for name in running if name.endswith(f"timer {number}")]
    elif "all" in words or len(running) == 1:
        names = running
    else:
        return f"{number_words(len(running)).capitalize()} timers are running. Say which one, or all timers."
    for name in names:
        context.timers.cancel(name)
        context.orders.append({"action": "timer_cancel", "name": name})
    if not names:
        return f"There is no timer {number_words(number or 0)}."
    if len(names) > 1:
        return f"{number_words(len(names)).capitalize()} timers are cancelled."
    return f"Timer {_spoken(names[0])} is cancelled."


@skill("set the volume to <number> [percent] | volume <number> [percent]")
def set_volume(words: list[str], context: Context) -> str:
    percent = number_in(words) or 0
    context.orders.append({"action": "volume", "to": percent})
    return f"Volume {number_words(percent)} percent."


@skill("louder | [turn the] volume up | turn up the volume | turn it up")
def louder(words: list[str], context: Context) -> str:
    context.orders.append({"action": "volume", "by": VOLUME_STEP})
    return "Louder."


@skill("quieter | [turn the] volume down | turn down the volume | turn it down")
def quieter(words: list[str], context: Context) -> str:
    context.orders.append({"action": "volume", "by": -VOLUME_STEP})
    return "Quieter."


@skill("tell me a [long] story | [tell me] another story")
def story(words: list[str], context: Context) -> Iterator[str]:
    told = context.stories_told
    context.stories_told += 1
    yield from STORIES[told % len(STORIES)]


@skill("goodbye | bye bye | good night")
def goodbye(words: list[str], context: Context) -> str:
    context.over = True
    return "Goodbye."


@skill("stop | never mind | be quiet")
def stop(words: list[str], context: Context) -> str:
    return "Okay."


@skill("what can you do")
def abilities(words: list[str], context: Context) -> str:
    return "I can tell the time and the date, set timers, change the volume, and tell a story."
