"""Whether a comparison lets a candidate through."""

from collections.abc import Mapping

from refrain.experiments.comparison.verdicts import Verdict

PASSING: dict[str, set[Verdict]] = {"worse": {"better", "cannot tell"}, "not-better": {"better"}}


def fails(condition: str, verdicts: Mapping[str, Verdict]) -> bool:
    """`worse`: a score of a candidate is worse. `not-better`: that, or none is better. Both: nothing was judged."""
    return bool(failing(condition, verdicts)) or not verdicts


def failing(condition: str, verdicts: Mapping[str, Verdict]) -> list[str]:
    return [names for names, verdict in verdicts.items() if verdict not in PASSING[condition]]


def explain(condition: str, verdicts: Mapping[str, Verdict]) -> str:
    """The outcome in one sentence."""
    if names := failing(condition, verdicts):
        return f"gate: fails, for --fail-if {condition} holds of {', '.join(names)}"
    if not verdicts:
        return "gate: fails, for nothing was judged"
    if condition == "worse":
        return ("gate: passes, in no score is the candidate worse beyond chance; the lower ends of the intervals say "
                "how much it may have lost nevertheless")  # fmt: skip
    return "gate: passes, the candidate is better, and in no score worse"
