"""Where a base model comes from, decided by which of model.hub, model.folder and model.tiny is there."""

import logging
from pathlib import Path

from refrain import hub, inputs, paths, pretraining, snapshot
from refrain.config import Model

log = logging.getLogger(__name__)


def fetch(model: Model, seed: int, out: Path) -> None:
    """Fill the empty folder `out` with checked weights, config, tokenizer and source.json."""
    if model.tiny is not None:
        pretraining.make(model.tiny, paths.LINKED_MODEL / "corpus.txt", seed, out)
    elif model.folder is not None:
        snapshot.from_folder(inputs.found(model.folder, "model.folder", folder=True), out)
    elif model.hub is not None and model.revision is not None:
        hub.fetch(model.hub, model.revision, out)
    log.info("%s: %s", out, ", ".join(sorted(file.name for file in out.iterdir())))
