"""The corpus: every row of the sources read once, block by block, on all cores."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from refrain.chat import records
from refrain.data import file_problems, sources
from refrain.data.parallel import mapping
from refrain.data.readers import files
from refrain.data.rejected_rows import Examples, add_examples
from refrain.data.row_preparer import RowPreparer, SourceBlock
from refrain.data.shapes import recognition, turn_rows
from refrain.data.shapes.layout import Layout
from refrain.data.sources import SourceFile
from refrain.data.splitting.row_store import RowBatch, RowStore
from refrain.pipeline import progress
from refrain.pipeline.schema import DataConfig

log = logging.getLogger(__name__)


@dataclass
class SourceCounts:
    """What was read, by source: how many rows, why some of them go no further, and what policies changed."""

    rows: Counter[str]
    reasons: dict[str, Counter[str]]
    effects: dict[str, Counter[str]]
    ignored: dict[str, Counter[str]]  # fields that nothing reads
    examples: dict[str, Examples]  # of rows that go no further
    formats: dict[str, str]  # how files are read, in words, where that was found from what they hold
    splits: dict[str, str | None]  # that are declared for all rows of a source
    files: dict[str, SourceFile]
    layouts: dict[str, Layout] = field(default_factory=dict)  # of those that have columns


@contextmanager
def read_corpus(preparer: RowPreparer) -> Iterator[tuple[RowStore, SourceCounts]]:
    """Every row of the linked files: in the store, or written to quarantine.jsonl beside its folder.

    ValueError when a file as a whole makes no sense, or changes while it is read.
    """
    with sources.named_by_person(preparer.data, preparer.linked), read_files(preparer) as store_and_counts:
        yield store_and_counts


@contextmanager
def read_files(preparer: RowPreparer) -> Iterator[tuple[RowStore, SourceCounts]]:
    source_files = sources.list_files(preparer.data, preparer.linked)
    data = replace(preparer.data, sources=[file.config for file in source_files])
    preparer = replace(preparer, data=data)  # one source for each file
    names = [file.name for file in source_files]
    reasons, effects, ignored_fields = ({name: Counter[str]() for name in names} for _ in range(3))
    examples: dict[str, Examples] = {name: {} for name in names}
    formats = describe_formats(source_files, data)
    splits = {file.name: file.config.split for file in source_files}
    files_by_name = {file.name: file for file in source_files}
    counts = SourceCounts(Counter(), reasons, effects, ignored_fields, examples, formats, splits, files_by_name)
    with (
        mapping.engine_session(data),
        RowStore(preparer.store_folder, names) as store,
        (preparer.store_folder.parent / "quarantine.jsonl").open("wb") as quarantine,
        progress.open_bar("rows") as bar,
    ):
        for batch in mapping.parallel_map(preparer, source_blocks(source_files, counts.layouts, data), data):
            counts.rows[batch.source] += batch.row_count
            counts.reasons[batch.source].update(row["reason"] for row in batch.dropped)
            counts.effects[batch.source].update(batch.effects)
            warn_of_refusal(batch, counts)
            counts.ignored[batch.source].update(batch.ignored)
            add_examples(counts.examples[batch.source], batch.dropped)
            quarantine.writelines(map(records.to_json_line, batch.dropped))
            store.add(batch)
            bar.update(batch.row_count)
        quarantine.close()
        store.consolidate()
        yield store, counts


def describe_formats(source_files: list[SourceFile], data: DataConfig) -> dict[str, str]:
    """How each file is read where that was found from what it holds; said once for files of a source that are alike."""
    formats = {}
    for file in source_files:
        with file_problems.explain_errors(file, data):
            formats[file.name] = files.describe_format(file.path, file.config)
    for source, words in dict.fromkeys((name.partition("/")[0], words) for name, words in formats.items() if words):
        log.info("%s: %s", source, words)
    return formats


def warn_of_refusal(batch: RowBatch, counts: SourceCounts) -> None:
    """Say at once, for the first row of a source, that the template does not take it."""
    refused = [row for row in batch.dropped if row["reason"] == "refused"]
    if refused and counts.reasons[batch.source]["refused"] == len(refused):
        log.warning("%s: %s; such rows are quarantined", refused[0]["id"], refused[0]["message"])


def source_blocks(
    source_files: list[SourceFile], layouts: dict[str, Layout], data: DataConfig
) -> Iterator[SourceBlock]:
    """The blocks of all sources, one source after the other; how each is read is said, and kept in `layouts`."""
    for index, file in enumerate(source_files):
        with file_problems.explain_errors(file, data):
            layout = recognition.recognise_layout(file.config, files.read_rows(file.path, file.config))
        if layout is not None:
            layouts[file.name] = layout
            log.info("%s: %s", file.name, layout.describe())
        blocks = files.read_blocks(file.path, file.config)
        if layout is not None and layout.shape.name == turn_rows.NAME:
            blocks = turn_rows.group_blocks(blocks, layout.read, file.config.assistant)
            layout = recognition.conversation_layout(layout)
        for block in blocks:
            yield SourceBlock(index, file.name, layout, block)
