"""The corpus: every row of the sources read once, block by block, on all cores."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import cast

from refrain.chat import encoding, records, templates
from refrain.chat.records import Row
from refrain.chat.written_fields import TemplateFields
from refrain.data import file_problems, sources
from refrain.data.cleaning import policies, template_fields, token_length
from refrain.data.parallel import mapping
from refrain.data.readers import files
from refrain.data.readers.raw_rows import RawRow
from refrain.data.readers.text_formats import Block
from refrain.data.rejected_rows import Examples, add_examples
from refrain.data.shapes import ignored, parsing, recognition, turn_rows
from refrain.data.shapes.conversations import ParseResult
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.layout import Layout
from refrain.data.sources import SourceFile
from refrain.data.splitting.leakage import NONE, SPLITS
from refrain.data.splitting.row_store import RejectedRow, RowBatch, RowBatchBuilder, RowStore, make_row_id
from refrain.pipeline import progress
from refrain.pipeline.schema import AugmentationConfig, DataConfig

log = logging.getLogger(__name__)
ROW_FIELDS = ("messages", "rejected", "label", "own_id", "tools")  # of a row, in this order


NO_AUGMENTATION = AugmentationConfig(paraphrases=[], merge_input=False, noise=0.0, truncate=0.0)


@dataclass(frozen=True)
class SourceBlock:
    """A block of a source, and how its rows are to be read."""

    index: int
    name: str  # of the linked file
    layout: Layout | None
    block: Block


@dataclass(frozen=True)
class RowPreparer:
    """From a block of a source to a batch of prepared rows: all that is done to a row by itself."""

    data: DataConfig
    seed: int
    base: Path | None  # null: no row is measured, nor shown to a template
    jinja: str | None
    linked: Path  # the folder of the linked files
    store_folder: Path

    def __call__(self, source_block: SourceBlock) -> RowBatch:
        builder = RowBatchBuilder(source_block.name, self.data.leaks.ngram_size, self.seed)
        layout = source_block.layout
        read_fields = ignored.read_fields(layout) if layout else ignored.read_names()
        for raw in source_block.block.rows():
            results = self.split_replies(parsing.parse_row(raw, layout, self.data.policies))
            if not all(isinstance(result, RowError) for result in results):
                builder.ignored.update(ignored.find_ignored(raw.value, read_fields))
            for member, result in enumerate(results, 1):
                builder.row_count += 1
                id = make_row_id(source_block.name, raw.line, raw.nth, member)
                offset = -1 if raw.offset is None else raw.offset
                place = {"source": source_block.index, "line": raw.line, "offset": offset, "nth": raw.nth}
                try:
                    self.add_row(builder, id, result, **place, member=member)
                except RowError as error:
                    builder.dropped.append(rejected_row(id, source_block.name, raw, error))
        return builder.build(self.store_folder)

    def add_row(self, builder: RowBatchBuilder, id: str, result: ParseResult, **place: int) -> None:
        """Add the row of a conversation; RowError when it is none or no policy wants it."""
        if isinstance(result, RowError):
            raise result
        effects: Counter[str] = Counter()
        conversation = policies.apply_policies(result, self.data.policies, effects)
        fields = {name: value for name in self.row_fields if (value := conversation.get(name)) is not None}
        row = self.fit_to_template(cast(Row, {"id": id} | fields))
        fitting_row = self.fit_row(row)
        if fitting_row is not row:
            effects["overlong"] += 1
        if effects:
            builder.effects.update(effects)
        split = self.data.sources[place["source"]].split or conversation.get("split")
        declared = NONE if split in (None, "random") else SPLITS.index(split)
        builder.add(fitting_row, conversation.get("group"), **place, declared=declared)

    @property
    def row_fields(self) -> tuple[str, ...]:
        """The fields of a conversation that its row has: where an input begins only if variants are made."""
        return ROW_FIELDS if self.data.augment == NO_AUGMENTATION else (*ROW_FIELDS, "input_from")

    def split_replies(self, results: list[ParseResult]) -> list[ParseResult]:
        """The conversations, more of them where the template writes replies with calls or thoughts otherwise later."""
        if self.base is None or all(isinstance(each, RowError) or template_fields.is_plain(each) for each in results):
            return results
        fields = cached_fields(self.base, self.jinja)
        wanted = self.data.policies
        return [part for result in results for part in template_fields.split_replies(fields, result, wanted)]

    def fit_to_template(self, row: Row) -> Row:
        """The row as the template takes it; RowError when it would leave something out."""
        if self.base is None or template_fields.is_plain(row):
            return row
        return template_fields.fit_to_template(cached_fields(self.base, self.jinja), row)

    def fit_row(self, row: Row) -> Row:
        """The same row if it is short enough; RowError when the policy or the template does not take it."""
        if self.base is None or self.surely_fits(self.base, row):
            return row
        tokenizer = cached_tokenizer(self.base, self.jinja)
        return fit_or_refuse(tokenizer, row, self.data.max_tokens, self.data.policies.overlong)

    def fits_limit(self, row: Row) -> bool:
        """Whether a row is no longer than is allowed."""
        if self.base is None or self.surely_fits(self.base, row):
            return True
        tokenizer, limit = cached_tokenizer(self.base, self.jinja), self.data.max_tokens
        return token_length.count_tokens(tokenizer, row, limit) <= limit

    def surely_fits(self, base: Path, row: Row) -> bool:
        """Whether a row is so short that its tokens need not be counted."""
        return token_length.surely_fits(cached_tokenizer(base, self.jinja), row, self.data.max_tokens)


def fit_or_refuse(tokenizer: encoding.ChatTokenizer, row: Row, limit: int, policy: str) -> Row:
    """As `fit_to_limit`; RowError with the template's words when it does not take the turns."""
    try:
        return token_length.fit_to_limit(tokenizer, row, limit, policy)[0]
    except templates.TemplateRefusalError as error:
        has_system = row["messages"][0]["role"] == "system"
        way_out = "; data.policies.system=remove takes system turns out" if has_system else ""
        raise RowError("refused", f"{error}{way_out}") from error


def rejected_row(id: str, source: str, raw: RawRow, error: RowError) -> RejectedRow:
    """A line of quarantine.jsonl."""
    return {
        "id": id,
        "source": source,
        "line": raw.line,
        "offset": raw.offset,
        "reason": error.reason,
        "message": str(error),
    }


@cache
def cached_tokenizer(base: Path, jinja: str | None) -> encoding.ChatTokenizer:
    """The tokenizer with its template, loaded once for each process."""
    return encoding.load_tokenizer(base, jinja)


@cache
def cached_fields(base: Path, jinja: str | None) -> TemplateFields:
    """What the template writes beside text, found once for each process."""
    return TemplateFields(cached_tokenizer(base, jinja))


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
