"""The errors of an upload to the Hub as one sentence each, with what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import errors
from requests.exceptions import JSONDecodeError

WAYS = {
    401: "the Hub does not know this token; set HF_TOKEN to a valid one, or run `hf auth login`",
    403: "this token may not write there; make one with write access to it, or publish under your own name",
    404: "there is no such repository, or it is hidden from this token; check the name, and HF_TOKEN",
    409: "somebody else changes it at this moment; run again",
    412: "somebody else has committed there meanwhile; run again",
    413: "a file is larger than the Hub takes; publish fewer variants",
    429: "the Hub asks for a pause; run again later, it goes on where it ended",
}


@contextmanager
def explain_upload_errors(repository: str) -> Iterator[None]:
    """ValueError in place of what the client raises; errors of the local disk pass."""
    try:
        yield
    except (OSError, RuntimeError, errors.HFValidationError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if isinstance(error, RuntimeError) and not isinstance(error.__cause__, OSError):
            raise
        raise ValueError(f"{repository}: {explain_error(error)}") from error


@contextmanager
def explain_refused_card(repository: str) -> Iterator[None]:
    """The client asks the Hub about the card before anything is sent, and gives its objections on several lines."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, (OSError, errors.HFValidationError)):
            raise
        raise ValueError(f"{repository}: the Hub objects to the card: {' '.join(str(error).split())}") from error


def explain_error(error: BaseException) -> str:
    """What is wrong, and the way out, without a word that the Hub or the client said."""
    match error:
        case RuntimeError(__cause__=BaseException() as cause):  # of one file among several
            return explain_error(cause)
        case errors.OfflineModeIsEnabled():
            return "HF_HUB_OFFLINE is set; unset it to publish"
        case JSONDecodeError():
            return "what answers is not the Hub; check HF_ENDPOINT"
        case errors.HFValidationError():
            return "this is not the name of a repository; write it as user/name"
        case errors.HfHubHTTPError(response=object(status_code=status)):
            return WAYS.get(status, f"the Hub answers {status}; run again later, it goes on where it ended")
    return "no connection to the Hub, or it broke off; check the network and HF_ENDPOINT, then run again to go on"


def status_of(error: errors.HfHubHTTPError) -> int | None:
    """The status that the Hub answered with."""
    return None if error.response is None else error.response.status_code
