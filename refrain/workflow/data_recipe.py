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
ADDED = "added.jsonl"  # the source of rows that were added


@dataclass
class Recipe:
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
        records.write_rows(path, self.added)
        return [*self.sources, SourceConfig(str(path))]

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
        overrides = [*data_settings.source_overrides(self.all_sources()), *self.overrides, *more]
        return params.to_config(compose_presets(overrides))


def make_recipe(rows: Rows, overrides: list[str], of_source: dict[str, Any]) -> Recipe:
    scratch = tempfile.TemporaryDirectory(prefix="refrain-rows-")
    return Recipe(row_sources.list_sources(rows, Path(scratch.name), **of_source), overrides, scratch)


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
