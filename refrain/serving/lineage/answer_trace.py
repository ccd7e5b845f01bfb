"""Where one answer comes from: what made it, the rows of training near its question, and those that have shaped it."""

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from refrain import TRAIN
from refrain.experiments import machine
from refrain.pipeline import paths
from refrain.serving.lineage import model_lineage
from refrain.serving.models import artifact

EXTRA = ("influence: which training rows have shaped the answer is found with PyTorch; "
         f"`pip install '{TRAIN}'` brings it")  # fmt: skip


def trace_words(question: str, limit: int, folder: Path) -> dict[str, Any]:
    """Which split asks this, and the nearest rows; `problem` instead where that cannot be said."""
    from refrain.serving.lineage.training_search import TrainingSearch

    search = TrainingSearch(paths.PREPARED)
    try:
        return search.search(question, limit, artifact.read_facts(folder)[0].get("data"))
    except FileNotFoundError:
        return {"problem": explain_absence()}
    except (OSError, ValueError) as error:
        return {"problem": str(error)}
    finally:
        search.close()


def explain_absence() -> str:
    """Why no rows are found, and how to have them."""
    return f"{paths.PREPARED}: no prepared rows are here; in the repository `dvc pull {paths.PREPARED}` fetches them"


def trace_influence(
    folder: Path, prompt_ids: Sequence[int], reply: str, limit: int, max_minutes: float
) -> dict[str, Any]:
    """The rows whose gradients agree best with the answer's; `problem` instead where that cannot be said."""
    if importlib.util.find_spec("torch") is None:
        return {"problem": EXTRA}
    from refrain.models.influence import origin

    facts, _ = artifact.read_facts(folder)
    made_of = facts.get("made_of", {})
    params = model_lineage.read_training_params(made_of.get(str(paths.MERGED), ""), artifact.find_commit(facts) or "")
    try:
        found = origin.find_origin(made_of, params)
        require_memory(found.base)
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it asks for a package that runs code of the Hub
        from refrain.models.influence import ranking

        influence = ranking.rank_rows(found, prompt_ids, reply, limit, 60 * max_minutes)
    except (OSError, ValueError) as error:
        return {"problem": f"influence: {error}"}
    return describe_influence(influence)


def require_memory(base: Path) -> None:
    """ValueError where the base has no room in fp32, with what a pass over it takes."""
    needed, free = 3 * sum(file.stat().st_size for file in base.glob("*.safetensors")), machine.free_memory()
    if free is not None and needed > free:
        raise ValueError(f"{base}: it takes about {needed / 1e9:.1f} GB in PyTorch, and {free / 1e9:.1f} GB are free")


def describe_influence(influence: Any) -> dict[str, Any]:
    """The rows as JSON has them, with where each comes from."""
    from refrain.serving.lineage.training_search import describe_row

    rows = [
        describe_row("train", each.row) | {"cosine": round(each.cosine, 4), "dot": float(f"{each.dot:.4g}")}
        for each in influence.rows
    ]
    return {
        "rows": rows,
        "compared": influence.num_rows,
        "weights": influence.num_weights,
        "place": influence.place,
    }
