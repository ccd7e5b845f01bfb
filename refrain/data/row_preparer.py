"""From a block of raw rows to a batch of prepared ones: all that is done to a row by itself."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import cast

from refrain.chat import encoding, templates
from refrain.chat.records import Row
from refrain.chat.written_fields import TemplateFields
from refrain.data.cleaning import policies, template_fields, token_length
from refrain.data.readers.raw_rows import RawRow
from refrain.data.readers.text_formats import Block
from refrain.data.shapes import ignored, parsing
from refrain.data.shapes.conversations import ParseResult
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.ignored import ReadFields
from refrain.data.shapes.layout import Layout
from refrain.data.shapes.plain_chats import PlainChats
from refrain.data.splitting.leakage import NONE, SPLITS
from refrain.data.splitting.row_batches import RowBatchBuilder, RowPlace
from refrain.data.splitting.row_store import RejectedRow, RowBatch, make_row_id
from refrain.pipeline.schema import AugmentationConfig, DataConfig

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
        plain_chats = PlainChats(layout)
        read_fields = ignored.read_fields(layout) if layout else ignored.read_names()
        for raw in source_block.block.rows():
            results: Sequence[ParseResult]
            if (chat := plain_chats.parse(raw)) is None:
                results = self.parse_row(raw, layout, read_fields, builder.ignored)
            else:
                results, unread = [chat], plain_chats.find_ignored(raw.value)
                if unread:
                    builder.ignored.update(unread)
            for member, result in enumerate(results, 1):
                builder.row_count += 1
                id = make_row_id(source_block.name, raw.line, raw.nth, member)
                offset = -1 if raw.offset is None else raw.offset
                place = RowPlace(source_block.index, raw.line, offset, raw.nth, member)
                try:
                    self.add_row(builder, id, result, place)
                except RowError as error:
                    builder.dropped.append(rejected_row(id, source_block.name, raw, error))
        return builder.build(self.store_folder)

    def parse_row(
        self, raw: RawRow, layout: Layout | None, read_fields: ReadFields, ignored_counts: Counter[str]
    ) -> Sequence[ParseResult]:
        """Every conversation of a row, or why there is none; fields that nothing reads are counted."""
        results = self.split_replies(parsing.parse_row(raw, layout, self.data.policies))
        if not all(isinstance(result, RowError) for result in results):
            ignored_counts.update(ignored.find_ignored(raw.value, read_fields))
        return results

    def add_row(self, builder: RowBatchBuilder, id: str, result: ParseResult, place: RowPlace) -> None:
        """Add the row of a conversation; RowError when it is none or no policy wants it."""
        if isinstance(result, RowError):
            raise result
        effects: set[str] = set()
        conversation = policies.apply_policies(result, self.data.policies, effects)
        fields = {name: value for name in self.row_fields if (value := conversation.get(name)) is not None}
        row = self.fit_to_template(cast(Row, {"id": id} | fields))
        fitting_row = self.fit_row(row)
        if fitting_row is not row:
            effects.add("overlong")
        if effects:
            builder.effects.update(effects)
        split = self.data.sources[place.source].split or conversation.get("split")
        declared = NONE if split in (None, "random") else SPLITS.index(split)
        builder.add(fitting_row, conversation.get("group"), place, declared)

    @cached_property
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
