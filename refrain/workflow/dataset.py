"""Rows to fine-tune on, from Python: `refrain.data.load(rows)` gives them, each in one split or with its reason."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack, cast

from refrain.chat import records
from refrain.chat.records import Message, Row
from refrain.data.splitting.leakage import SPLITS
from refrain.data.splitting.row_store import RejectedRow
from refrain.experiments import data_table
from refrain.pipeline.plurals import format_count
from refrain.pipeline.schema import SourceConfig
from refrain.workflow import batches, settings
from refrain.workflow.batches import Batch, Framework
from refrain.workflow.data_input import DataInput, group_settings, make_input, name_groups, read_row
from refrain.workflow.row_placement import Placement, place
from refrain.workflow.row_sources import Rows, to_json
from refrain.workflow.settings import DataSettings, SourceSettings

Source = SourceConfig  # a file with settings of its own
KEPT = ("messages", "rejected", "label", "tools", "group")  # of a row that goes into another file


class Data:
    """Rows in three splits that share no question, and those in none with their reasons.

    `add` changes the data in place, as a list's `append` does; `filter` and `map` give new data. Splits are found
    anew when they are next looked at, by the code of the prepare stage: a row that was added joins the split of what
    it repeats, and no earlier row moves.
    """

    def __init__(self, read_from: DataInput, placement: Placement | None = None) -> None:
        self.input, self._placement = read_from, placement

    @property
    def placement(self) -> Placement:
        """Where every row is now; ValueError when none is left to train on."""
        if self._placement is None:
            cfg = self.input.compose()
            with self.input.named_by_person():
                self._placement = place(replace(cfg.data, workers=cfg.data.workers or 1), cfg.seed)
        return self._placement

    @property
    def train(self) -> list[Row]:
        """The rows to learn from: dicts of `id`, `messages` and, where they have one, `rejected`, `label`, `tools`,
        and `group`, the same for rows that stand together."""
        return self.placement.splits["train"]

    @property
    def val(self) -> list[Row]:
        """The rows of the validation loss."""
        return self.placement.splits["val"]

    @property
    def test(self) -> list[Row]:
        """The rows of the exam."""
        return self.placement.splits["test"]

    @property
    def rejected(self) -> list[RejectedRow]:
        """The rows in no split: dicts of `id`, `source`, `line`, `reason`, `message`, and `of`, the row that stays."""
        return self.placement.rejected

    @property
    def reasons(self) -> dict[str, int]:
        """How many rows are in no split, by the reason: duplicate, near_leak, empty_text, ..."""
        return dict(Counter(row["reason"] for row in self.rejected).most_common())

    @property
    def report(self) -> dict[str, Any]:
        """All counts, by source, as reports/data.json has them."""
        return self.placement.report

    def __len__(self) -> int:
        """Rows in the three splits."""
        return sum(len(self.placement.splits[name]) for name in SPLITS)

    def __iter__(self) -> Iterator[Row]:
        """Every row of train, then of val and of test."""
        for name in SPLITS:
            yield from self.placement.splits[name]

    def __repr__(self) -> str:
        return "\n".join([data_table.counts_table(self.report), *data_table.reasons_section(self.report)])

    def add(self, row: Mapping[str, Any] | None = None, *, messages: list[Message] | None = None, **more: Any) -> None:
        """One more row, in any format that a file may have, or the turns of one: `add(messages=[...], label=False)`.

        ValueError with the reason when it is no conversation.
        """
        fields = {**(row or {}), **({} if messages is None else {"messages": messages}), **more}
        self.input.added += read_row(fields, self.input.overrides)
        self._placement = None

    def filter(self, keep: Callable[[Row], bool]) -> "Data":
        """New data of the rows for which `keep` is true, each in the split where it is."""
        return self.map(lambda row: row if keep(row) else None)

    def map(self, change: Callable[[Row], Mapping[str, Any] | None]) -> "Data":
        """New data of what `change` makes of each row, in the split where it is; None leaves the row out.

        What then asks the same in two splits leaves train. `own_id` of a row is the id that it had; its group stays.
        """
        rows = []
        for row in self.source_rows():
            kept = {"id": row.pop("id"), "split": row.pop("split")}
            changed = change(cast(Row, {**row, "id": kept["id"]}))
            if changed is not None:
                to_json(changed, f"what map made of {kept['id']}")
                parts = [dict(changed)] if "messages" in changed else read_row(changed, self.input.overrides)
                grouped = {"group": row["group"]} if "group" in row else {}
                rows += [{**grouped, **part, **kept} for part in parts]
        if not rows:
            raise ValueError(f"no row is left: all {format_count(len(self), 'row')} were left out; keep some")
        rows = name_groups(rows)
        return Data(make_input(rows, self.input.overrides, group_settings(rows)))

    def source_rows(self) -> Iterator[dict[str, Any]]:
        """Every row as a file may have it, with its split; `id` is the one that its own file has, if it has one."""
        for name in SPLITS:
            for row in self.placement.splits[name]:
                kept = {key: value for key, value in row.items() if key in KEPT}
                yield {"id": row.get("own_id", row["id"]), **kept, "split": name}

    def save(self, path: str | Path) -> None:
        """One JSON Lines file of all rows, with the split of each, which `load` reads back into the same splits.

        Where rows have a `group`, `load(path, fields={"group": "group"})` reads it back too. The file is written whole
        or not at all. OSError when it cannot be written.
        """
        file = Path(path)
        part = file.with_name(f".{file.name}.part")
        records.write_rows(part, name_groups([*self.source_rows()]))
        part.replace(file)

    def batches(
        self, model: "str | Path | Any", size: int, split: str = "train", return_tensors: Framework = "np"
    ) -> Iterator[Batch]:
        """Rows of a split as the model learns from them, `size` at a time in their order, the last ones perhaps fewer.

        Each batch is a dict of three int64 arrays of shape (rows, tokens of the longest row): `input_ids`, padded on
        the right; `labels`, -100 where nothing is learned; `attention_mask`, 1 for a token and 0 for padding. `model`
        is what `finetune` gave, or a folder with a tokenizer and a chat template; `return_tensors` is "np" or "pt".
        Rows whose reply is a bad one are left out. ValueError for a row that the template does not take.
        """
        if split not in SPLITS:
            raise ValueError(f"split: {split!r} is none of {', '.join(SPLITS)}")
        folder = Path(getattr(model, "adapter", model))
        return batches.iterate_batches(self.placement.splits[split], folder, size, return_tensors)


def load(rows: Rows, seed: int | None = None, **given: Unpack[DataSettings]) -> Data:
    """Rows to fine-tune on, each in one split or with the reason why it is in none.

    `rows` are a file, folder or pattern (JSON, JSON Lines, CSV, Parquet, XLSX, ..., zipped or not), a list of these, a
    list of dicts, a DataFrame, a Dataset, or a mapping of splits to any of them: `{"train": ..., "test": ...}`. The
    format is recognised. Keywords are the keys of a source (`fields={"question": "Frage"}`) and of `data`
    (`val_fraction=0.1`, a share of the rows); what is left out is as in conf/, and `seed` draws the splits.

    What only a tokenizer tells, such as rows longer than `max_tokens`, is found by `finetune`: its `data` has it.
    ValueError when no row is left to train on, more of a file are broken than `max_quarantined` allows, or a keyword
    is none.
    """
    overrides = [*([] if seed is None else [f"seed={seed}"]), *settings.data_overrides(given)]
    of_source = {key: value for key, value in given.items() if key in SourceSettings.__annotations__}
    data = Data(make_input(rows, overrides, of_source))
    _ = data.placement
    return data
