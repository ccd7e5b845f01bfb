"""All checks, run one after the other, and their table."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from refrain.generation import model_choice
from refrain.pipeline import manifest
from refrain.serving.selftest import answer_checks, damage_checks, operation_checks, request_checks, streaming_checks
from refrain.serving.selftest.client import OwnServer, Target
from refrain.serving.selftest.outcome import Check, CheckFailedError, NotApplicableError, Outcome
from refrain.serving.selftest.own_server import start_server
from refrain.serving.settings.schema import ServeSettings

MODULES = (streaming_checks, request_checks, answer_checks, damage_checks, operation_checks)
CHECKS: list[Check] = sorted(check for module in MODULES for check in module.CHECKS)


def check_server(url: str, settings: ServeSettings) -> Iterator[Outcome]:
    """Check the server at a URL; without one, a server of the model in the settings that is started for it.

    ValueError when that does not start, or nothing answers at the URL.
    """
    if url:
        target = Target(url, settings.api_key)
        try:
            target.get("/v1/models")
        except OSError as error:
            raise ValueError(f"{url}: nothing answers there ({error}); start the server first") from error
        yield from run_checks(target)
        return
    folder = model_choice.choose_model(settings.model)
    own = OwnServer(settings.model, find_artifact(folder))
    with start_server(own) as target:
        yield from run_checks(target)


def find_artifact(folder: Path) -> Path:
    """The folder with the manifest of a variant: the one around it, or its own."""
    return folder.parent if (folder.parent / manifest.MANIFEST).is_file() else folder


def run_checks(target: Target, checks: Iterable[Check] = tuple(CHECKS)) -> Iterator[Outcome]:
    """The outcome of each check, as it comes; an answer that a check cannot read is a failure."""
    for check in checks:
        try:
            state, evidence = "ok", check.run(target)
        except NotApplicableError as reason:
            state, evidence = "n/a", str(reason)
        except CheckFailedError as reason:
            state, evidence = "fails", str(reason)
        except (OSError, ValueError, KeyError, TypeError, IndexError, StopIteration) as error:
            state, evidence = "fails", f"{type(error).__name__}: {error}"
        yield Outcome(check.number, check.claim, state, " ".join(evidence.split())[:160])


def format_outcome(outcome: Outcome) -> str:
    """One line of the table."""
    return f"{outcome.number:>3}  {outcome.state:<5}  {outcome.claim:<62}  {outcome.evidence}"


def summarise(outcomes: Iterable[Outcome]) -> str:
    """How many hold, fail, or cannot be seen from outside."""
    counts = Counter(outcome.state for outcome in outcomes)
    return f"{counts['ok']} hold, {counts['fails']} fail, {counts['n/a']} cannot be told"
