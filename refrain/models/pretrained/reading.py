"""What a tiny base reads: a text that a person names, or the training rows of the data."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from refrain.data import training_texts
from refrain.pipeline.schema import TinyConfig


@contextmanager
def open_corpus(tiny: TinyConfig, linked: Path, seed: int) -> Iterator[Path]:
    """A file with a paragraph in each line, from what compose has linked."""
    if tiny.corpus is not None:
        yield linked / "corpus.txt"
        return
    with tempfile.TemporaryDirectory(prefix="refrain-") as scratch:
        file = Path(scratch, "corpus.txt")
        training_texts.write_training_texts(linked / "rows", seed, file)
        yield file
