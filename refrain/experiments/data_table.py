"""What `refrain data` prints: how each file is read, what becomes of its rows and why, lengths, and rows to learn."""

import re
from typing import Any

import numpy as np

from refrain.chat import preview
from refrain.chat.control_characters import escape_controls
from refrain.data import split_files
from refrain.data.datasheet import EFFECTS, PERCENTILES
from refrain.data.readers import files
from refrain.data.rejected_rows import by_frequency
from refrain.data.shapes import errors
from refrain.data.split_files import PLACES
from refrain.experiments.data_preview import DataPreview
from refrain.experiments.text_tables import number_table, text_table
from refrain.pipeline.plurals import format_count

MAX_SHOWN = 600  # characters of a row


FORMATS = {".json": "JSON", ".jsonl": "JSON Lines", ".ndjson": "JSON Lines", ".csv": "CSV", ".tsv": "TSV",
           ".parquet": "Parquet", ".arrow": "Arrow", ".feather": "Feather", ".xlsx": "XLSX"}  # fmt: skip


NUMBER = re.compile(r"^\d+-")


def describe_preview(data_preview: DataPreview) -> str:
    """The whole page."""
    report = data_preview.report
    parts = [describe_source(name, source) for name, source in report["sources"].items()]
    parts += [counts_table(report), *reasons_section(report), *effects_section(report)]
    if data_preview.samples:
        parts += [lengths_table(data_preview.lengths)]
        parts += ["rows to learn from, the trained text marked:"]
        parts += [f"{strip_number(row['id'])}\n{clip(preview.preview_turns(row))}" for row in data_preview.samples]
    return "\n\n".join(parts)


def strip_number(name: str) -> str:
    """A source or a row without the number of the source: as a person looks for it."""
    return NUMBER.sub("", name)


def describe_source(name: str, source: dict[str, Any]) -> str:
    """How a file is read."""
    facts = {"format": describe_format(name, source["format"])}
    facts |= layout_facts(source["layout"]) if source["layout"] else {}
    if source["split"]:
        facts["split"] = source["split"]
    if source["ignored"]:
        facts["ignored"] = split_files.describe_ignored(source["ignored"]).removeprefix("ignored: ")
    if "bad_replies" in source:
        facts["bad replies"] = split_files.describe_bad_replies(source["bad_replies"])
    facts |= {} if source["layout"] else {"rows": "none"}
    lines = text_table([(f"  {key}", value) for key, value in facts.items()])
    return f"{strip_number(name)}\n{lines}"


def describe_format(name: str, words: str) -> str:
    """The format that the name of a file says, and how it is written where that was found."""
    suffix = files.format_suffix(name)
    return ", ".join(filter(None, [FORMATS.get(suffix, suffix.removeprefix(".")), words]))


def layout_facts(layout: dict[str, Any]) -> dict[str, str]:
    """The shape that was recognised, the columns that it reads, and where a column of splits sends rows."""
    columns = [column if ours == column else f"{column} as {ours}" for ours, column in layout["columns"].items()]
    splits = [f"{value} to {split}" for value, split in layout["splits"].items()]
    facts = {"shape": layout["shape"], "columns": ", ".join(columns), "splits": ", ".join(splits)}
    return {name: fact for name, fact in facts.items() if fact}


def counts_table(report: dict[str, Any]) -> str:
    """Where the rows are, by source, as in reports/data.md; without the places in which there are none."""
    places = [place for place in ("rows", *PLACES) if report[place] or place in ("rows", "train")]
    sources = {strip_number(name): source for name, source in report["sources"].items()}
    sources |= {"all": report} if len(sources) > 1 else {}
    rows = [[name, *(f"{source[place]:,}" for place in places)] for name, source in sources.items()]
    return number_table([["", *(place.replace("_", " ") for place in places)], *rows])


def reasons_section(report: dict[str, Any]) -> list[str]:
    """Why rows are in no split, each reason with the first rows that have it."""
    result = ["rows in no split:"] * bool(report["reasons"])
    for reason, rows in by_frequency(report["reasons"]):
        meaning: str = errors.REASONS[reason]  # type: ignore[index]
        examples = [each for source in report["sources"].values() for each in source["examples"].get(reason, [])]
        lines = [f"  {strip_number(each['id'])}: {escape_controls(each['message'])}" for each in examples[:3]]
        result.append("\n".join([f"{reason} {rows:,}: {meaning}", *lines]))
    return result


def effects_section(report: dict[str, Any]) -> list[str]:
    """What was changed in rows that stay."""
    lines = [f"{effect} {rows:,}: {EFFECTS[effect]}" for effect, rows in by_frequency(report["effects"])]
    return ["\n".join(["changed:", *lines])] if lines else []


def lengths_table(lengths: dict[str, list[int]]) -> str:
    rows = [[name, *(f"{np.percentile(values, p, method='lower'):,.0f}" for p in PERCENTILES)]
            for name, values in lengths.items()]  # fmt: skip
    count = len(next(iter(lengths.values())))
    return number_table([[f"lengths of {format_count(count, 'row')}", *(f"{p} %" for p in PERCENTILES)], *rows])


def clip(text: str) -> str:
    half = MAX_SHOWN // 2
    return text if len(text) <= MAX_SHOWN else f"{text[:half]} [...] {text[-half:]}"
