"""Whether a tiny base has met the words of the data: one that has read another text knows nothing of these rows."""

import logging
import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from refrain.data import sources
from refrain.data.readers import files
from refrain.pipeline import paths
from refrain.pipeline.schema import DataConfig, MethodConfig, ModelConfig

log = logging.getLogger(__name__)
FIRST_ROWS = 100  # of each file that are looked at, in the first files
MAX_FILES = 8
MAX_UNKNOWN = 0.25  # of the words: chats about the very facts of a corpus have 0.22, any other data 0.3 and more
WORD = re.compile(r"[^\W\d_]+")


def warn_of_unknown_words(data: DataConfig, model: ModelConfig, method: MethodConfig) -> None:
    """Say so before anything is trained, and which base would fit."""
    tiny = model.tiny
    if tiny is None or tiny.corpus is None or method.weights == "random":
        return
    share = share_of_unknown_words(data)
    if share > MAX_UNKNOWN:
        log.warning(
            "the base model.tiny has read %s alone, which has none of %.0f %% of the words of the first rows: it will "
            "answer with garbage; take a pretrained base with its default rate (-S model=hub -S model.hub=owner/name, "
            "or -S model=folder -S model.folder=some/folder), or a tiny one made of these rows "
            "(-S model=tiny_from_data): docs/first-hour.md",
            tiny.corpus, 100 * share,
        )  # fmt: skip


def share_of_unknown_words(data: DataConfig) -> float:
    """Which part of the words in the first rows the linked corpus does not have; 0 where no row can be read."""
    known = {word.lower() for word in WORD.findall((paths.LINKED_MODEL / "corpus.txt").read_text(encoding="utf-8"))}
    words = [word.lower() for text in first_texts(data) for word in WORD.findall(text)]
    return sum(word not in known for word in words) / len(words) if words else 0.0


def first_texts(data: DataConfig) -> Iterator[str]:
    """The texts of the first rows; what is wrong with a file is said by prepare."""
    groups = (sources.list_source(data, index, paths.LINKED_DATA) for index in range(len(data.sources)))
    for file in islice(chain.from_iterable(groups), MAX_FILES):
        try:
            for row in islice(files.read_rows(file.path, file.config), FIRST_ROWS):
                yield from texts_in(row.value)
        except ValueError as error:
            log.debug("%s: %s", file.name, error)


def texts_in(value: Any) -> Iterator[str]:
    """Every text in nested values; keys are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts_in(part)
