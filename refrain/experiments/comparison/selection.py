"""Who is the candidate and who the baseline, by what a person names."""

from collections.abc import Sequence

from refrain.experiments.comparison import runs
from refrain.experiments.comparison.runs import Run

NEWEST = "HEAD"


def select_pairs(names: Sequence[str], baseline: str | None, queue: bool, variant: str) -> list[tuple[Run, Run]]:
    """Candidates, each with its baseline.

    The first name is the candidate and the others are baselines of it; with `baseline` all names are candidates, with
    `queue` the experiments of HEAD are. Left out, the candidate is the workspace, and the baseline HEAD.
    """
    if queue and names:
        raise ValueError(f"--queue names the candidates itself, so {names[0]} has no place; for a baseline, write "
                         f"--baseline {names[0]}")  # fmt: skip
    if queue:
        against = runs.find_run(baseline or NEWEST, variant)
        return [(candidate, against) for candidate in runs.experiments_of(NEWEST, variant)]
    found = [runs.find_run(name, variant) for name in names or [runs.WORKSPACE]]
    if baseline is not None or len(found) == 1:
        against = runs.find_run(baseline or NEWEST, variant)
        return [(candidate, against) for candidate in found]
    candidate, *baselines = found
    return [(candidate, against) for against in baselines]
