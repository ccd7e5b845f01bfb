"""What the training rows of some sources say, as plain text: what a tiny base reads that is made for them alone."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from refrain.chat.records import has_bad_reply, whole_text
from refrain.data import corpus, datasheet
from refrain.data.readers import folders
from refrain.data.row_preparer import NO_AUGMENTATION, RowPreparer
from refrain.data.splitting import splits
from refrain.data.splitting.leakage import TRAIN
from refrain.pipeline.schema import AugmentationConfig, DataConfig, LeakConfig, Policies, SourceConfig

SETTINGS = "data.json"  # beside the links to the files: how they are read


def write_settings(data: DataConfig, folder: Path) -> None:
    """Keep how the sources are read, as far as it decides which of their rows are trained on, and what they say."""
    own = replace(data, max_tokens=1, max_quarantined=1.0, augment=NO_AUGMENTATION, engine="local", workers=None)
    (folder / SETTINGS).write_text(json.dumps(asdict(own), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_settings(folder: Path) -> DataConfig:
    values: dict[str, Any] = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    parts = {"policies": Policies, "leaks": LeakConfig, "augment": AugmentationConfig}
    values |= {name: kind(**values[name]) for name, kind in parts.items()}
    return DataConfig(**{**values, "sources": [SourceConfig(**source) for source in values["sources"]]})


def list_linked(link: Path) -> list[str]:
    """The files with rows behind a link to a folder, by relative path; nothing for a file, also for an archive."""
    return [name for name in folders.list_files(link) if folders.holds_rows(name)] if link.is_dir() else []


def write_training_texts(folder: Path, seed: int, out: Path) -> None:
    """A line for each row that `prepare` would put into train, whatever the tokenizer and the template say of it.

    No row of val or test is read, so that nothing of them is known before they are asked.
    """
    with out.open("w", encoding="utf-8") as file:
        file.writelines(f"{text}\n" for text in training_texts(read_settings(folder), folder, seed))


def training_texts(data: DataConfig, linked: Path, seed: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="refrain-") as scratch:
        preparer = RowPreparer(data, seed, None, None, linked, Path(scratch, "rows"))
        with corpus.read_corpus(preparer) as (store, _):
            assignment = splits.assign_splits(store, data)
            for row in datasheet.read_rows(store, np.flatnonzero(assignment.split == TRAIN)):
                if not has_bad_reply(row):
                    yield " ".join(" ".join(map(whole_text, row["messages"])).split())
