"""All checks, run one after the other, and their table."""

from collections import Counter
from collections.abc import Iterable, Iterator

from refrain.serving.selftest import operation_checks, request_checks, streaming_checks
from refrain.serving.selftest.client import Target
from refrain.serving.selftest.outcome import Check, CheckFailedError, NotApplicableError, Outcome

CHECKS: list[Check] = sorted([*streaming_checks.CHECKS, *request_checks.CHECKS, *operation_checks.CHECKS])


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


def to_markdown(outcomes: dict[str, list[Outcome]]) -> str:
    """A table of several servers side by side."""
    names = list(outcomes)
    rows = [["#", "what must hold", *names], ["---:", "---", *["---" for _ in names]]]
    for found in zip(*outcomes.values(), strict=True):
        rows.append([str(found[0].number), found[0].claim, *(each.state for each in found)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
