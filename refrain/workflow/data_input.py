"""Where the rows of a `Data` come from, files or memory, and the settings by which they are read."""

import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from refrain.chat import records
from refrain.data.cleaning import policies
from refrain.data.readers.raw_rows import RawRow
from refrain.data.shapes import parsing, recognition
from refrain.data.shapes.errors import RowError
from refrain.experiments import data_settings
from refrain.pipeline import params
from refrain.pipeline.schema import Config, Policies, SourceConfig
from refrain.workflow import row_sources
from refrain.workflow.row_sources import Rows
from refrain.workflow.workspace import compose_presets

NO_SOURCES = "data.sources=[{path: none}]"
NO_COMMITS = (
    "method.init_adapter names a commit of a repository, and a folder of refrain.finetune has none; go on from a model "
    "that it trained by model=earlier.merge(), or in a repository by `dvc exp run -S method=continue`"
)
ADDED = "added.jsonl"  # the source of rows that were added


@dataclass
class DataInput:
    """What rows come from, and what becomes of them."""

    sources: list[SourceConfig]
    overrides: list[str]
    scratch: tempfile.TemporaryDirectory[str]  # holds rows that were in memory, while anybody may need them
    added: list[dict[str, Any]] = field(default_factory=list)

    def all_sources(self) -> list[SourceConfig]:
        """The sources, rows that were added last: so no earlier row changes its split."""
        if not self.added:
            return self.sources
        path = Path(self.scratch.name, ADDED)
        rows = name_groups(self.added)
        records.write_rows(path, rows)
        return [*self.sources, SourceConfig(str(path), **group_settings(rows))]

    @contextmanager
    def named_by_person(self) -> Iterator[None]:
        """Errors that speak of rows in memory, not of the file that they are in."""
        try:
            yield
        except ValueError as error:
            file = rf"{re.escape(self.scratch.name)}/(\d+/)?"
            raise ValueError(re.sub(file, "", str(error))) from error

    def compose(self, *more: str) -> Config:
        """The configuration that the installed presets and the settings make; ValueError for one that cannot be."""
        values = compose_presets([*data_settings.source_overrides(self.all_sources()), *self.overrides, *more])
        if values["method"]["init_adapter"] is not None:
            raise ValueError(NO_COMMITS)
        return params.to_config(values)


def name_groups(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, each with a group if any has one: a file has the columns of its first rows."""
    has_groups = any(row.get("group") for row in rows)
    return [{**row, "group": row.get("group")} for row in rows] if has_groups else rows


def group_settings(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the source of such rows is told, so that their groups are read."""
    return {"fields": {"group": "group"}} if rows and "group" in rows[0] else {}


def make_input(rows: Rows, overrides: list[str], of_source: dict[str, Any]) -> DataInput:
    scratch = tempfile.TemporaryDirectory(prefix="refrain-rows-")
    return DataInput(row_sources.list_sources(rows, Path(scratch.name), **of_source), overrides, scratch)


def read_row(fields: Mapping[str, Any], overrides: list[str]) -> list[dict[str, Any]]:
    """The conversations of one row, whatever its format; ValueError with the reason when there is none."""
    raw = RawRow(1, json.loads(row_sources.to_json(fields, "the row")), offset=0)
    layout = recognition.recognise_layout(SourceConfig("the row"), [raw])
    wanted = read_policies(tuple(overrides))
    conversations = []
    for result in parsing.parse_row(raw, layout, wanted):
        try:
            if isinstance(result, RowError):
                raise result
            policies.apply_policies(result, wanted, Counter())
        except RowError as error:
            raise ValueError(f"the row: {error}") from error
        conversations.append(dict(result))
    return conversations


@cache
def read_policies(overrides: tuple[str, ...]) -> Policies:
    """What the settings say of rows that are whole but may not be wanted."""
    values = compose_presets(["data=files", NO_SOURCES, *overrides])
    return params.to_config(values).data.policies
