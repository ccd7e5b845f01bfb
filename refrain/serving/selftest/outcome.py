"""How a check ends."""

from collections.abc import Callable
from typing import NamedTuple

from refrain.serving.selftest.client import Answer, Target


class CheckFailedError(Exception):
    """The server does otherwise than it should; the message says what it did."""


class NotApplicableError(Exception):
    """What the check needs cannot be seen, or brought about, from outside; the message says what that is."""


class Check(NamedTuple):
    """A check by its number in the list of complaints: what must hold, and what finds out."""

    number: int
    claim: str
    run: Callable[[Target], str]  # the evidence, in a few words


class Outcome(NamedTuple):
    """What came of a check: ok, fails or n/a."""

    number: int
    claim: str
    state: str
    evidence: str


def require(holds: bool, otherwise: str) -> None:
    """CheckFailedError with a sentence where something does not hold."""
    if not holds:
        raise CheckFailedError(otherwise)


def require_refused(answer: Answer, what: str, *params: str) -> None:
    """400 with an error in OpenAI's shape that names one of these parameters; none for any."""
    require(answer.status == 400, f"{what}: {answer.status}")
    require(bool(answer.error), f"{what}: 400 without an error object")
    param, message = str(answer.error.get("param")), str(answer.error.get("message"))
    is_named = not params or any(name in param or name in message for name in params)
    require(is_named, f"{what}: 400 does not name {' or '.join(params)}")
