"""Whether a comparison lets a candidate through."""

from collections.abc import Sequence

from refrain.experiments.comparison.verdicts import Comparison

CONDITIONS = ("worse", "not-better")


def fails(condition: str, comparisons: Sequence[Comparison]) -> bool:
    """`worse`: a score of a candidate is worse. `not-better`: that, or no score of it is better."""
    passing = {"better", "cannot tell"} if condition == "worse" else {"better"}
    return any(comparison.verdict not in passing for comparison in comparisons)


def explain(condition: str, comparisons: Sequence[Comparison]) -> str:
    """The outcome in one sentence."""
    failing = [comparison for comparison in comparisons if fails(condition, [comparison])]
    if failing:
        names = ", ".join(f"{each.candidate.run.name} against {each.baseline.run.name}" for each in failing)
        return f"gate: fails, for --fail-if {condition} holds of {names}"
    if condition == "worse":
        return ("gate: passes, in no score is the candidate worse beyond chance; the lower ends of the intervals say "
                "how much it may have lost nevertheless")  # fmt: skip
    return "gate: passes, the candidate is better, and in no score worse"
