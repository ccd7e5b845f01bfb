"""The data as a person wants to see it: counts, reasons, lengths in tokens, rows with the learned part marked."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refrain.chat import preview
from refrain.chat.encoding import IGNORE_INDEX, ChatTokenizer, encode_conversation
from refrain.chat.records import Row
from refrain.data.shapes import errors
from refrain.data.split_files import PLACES
from refrain.data.splitting.leakage import NONE, SPLITS, TRAIN
from refrain.data.splitting.row_store import RowStore
from refrain.data.splitting.splits import Assignment

MAX_MEASURED_ROWS, MAX_MEASURED_BYTES = (
    3_000,
    2_000_000,
)  # rows whose tokens are counted, and their bytes: a cost that does not grow


SAMPLE_ROWS = 10


MAX_SAMPLE_LENGTH = 4_000  # characters of a row that is shown


PERCENTILES = (0, 50, 90, 99, 100)


HISTOGRAM_BINS = 20


@dataclass
class TokenLengths:
    """Tokens of rows, by split: of the whole row with its template, and how many of them are learned."""

    tokens: dict[str, list[int]]
    learned: dict[str, list[int]]
    refused_ids: list[str]  # ids of rows that the template does not take


def measure_lengths(spool: RowStore, placed: Assignment, chat: ChatTokenizer) -> TokenLengths:
    """All rows, or some of them by chance."""
    result = TokenLengths({name: [] for name in SPLITS}, {name: [] for name in SPLITS}, [])
    rows = sample_rows(spool, np.flatnonzero(placed.split != NONE), MAX_MEASURED_ROWS, MAX_MEASURED_BYTES)
    for split, row in zip(placed.split[rows].tolist(), read_rows(spool, rows), strict=True):
        try:
            labels = encode_conversation(chat, row["messages"])["labels"]
        except ValueError:
            result.refused_ids.append(row["id"])
            continue
        result.tokens[SPLITS[split]].append(len(labels))
        result.learned[SPLITS[split]].append(sum(label != IGNORE_INDEX for label in labels))
    return result


def sample_rows(spool: RowStore, rows: Any, count: int, size: int = 1 << 62) -> Any:
    """So many rows or bytes, the same ones whenever they are asked for, in the order of the file; one at least."""
    drawn = rows[np.argsort(spool["said"][rows], kind="stable")[:count]]
    fitting = np.searchsorted(np.cumsum(spool["text"][drawn]), size, side="right")
    return np.sort(drawn[: max(1, fitting)])


def read_rows(spool: RowStore, rows: Any) -> Iterator[Row]:
    return (json.loads(text) for text in spool.read_texts(rows.tolist()))


def length_percentiles(found: TokenLengths) -> dict[str, Any]:
    """What reports/data.json says of lengths."""
    result: dict[str, Any] = {"measured": sum(map(len, found.tokens.values())), "refused": len(found.refused_ids)}
    for kind, lengths in (("tokens", found.tokens), ("learned", found.learned)):
        result[kind] = {
            name: {f"p{p}": int(np.percentile(values, p, method="lower")) for p in PERCENTILES}
            for name, values in lengths.items()
            if values
        }
    return result


def write_histogram(found: TokenLengths, file: Path) -> None:
    """Rows by length, a column for each split; the first column is where a bin ends."""
    longest = max((max(values) for values in found.tokens.values() if values), default=1)
    edges = np.unique(np.linspace(0, longest, HISTOGRAM_BINS + 1).round().astype(int))
    counts = [np.histogram(np.array(found.tokens[name]) - 0.5, edges)[0] for name in SPLITS]
    with file.open("w", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(
            [("tokens", *SPLITS), *zip(edges[1:].tolist(), *(each.tolist() for each in counts), strict=True)]
        )


def render_datasheet(report: dict[str, Any], spool: RowStore, placed: Assignment, chat: ChatTokenizer) -> str:
    """reports/data.md."""
    shown = sample_rows(spool, np.flatnonzero(placed.split == TRAIN), SAMPLE_ROWS)
    samples = [f"`{row['id']}`\n\n```\n{sample_text(chat, row)}\n```" for row in read_rows(spool, shown)]
    return "\n\n".join(["# Data", *counts_section(report), *reason_sections(report), *length_section(report),
                        "## Rows to learn from, the learned part marked", *samples]) + "\n"  # fmt: skip


def sample_text(chat: ChatTokenizer, row: Row) -> str:
    try:
        text = preview.preview_row(chat, row).replace("```", "`\u200b``")  # a fence within would end ours
        return (
            text
            if len(text) <= MAX_SAMPLE_LENGTH
            else f"{text[: MAX_SAMPLE_LENGTH // 2]} [...] {text[-MAX_SAMPLE_LENGTH // 2 :]}"
        )
    except ValueError as error:
        return f"not shown: {error}"


def counts_section(report: dict[str, Any]) -> list[str]:
    header = ["source", "rows", *(place.replace("_", " ") for place in PLACES)]
    listed = [*report["sources"].items(), ("all", report)]
    return [markdown_table(header, ([name, *(each[key] for key in ("rows", *PLACES))] for name, each in listed))]


def reason_sections(report: dict[str, Any]) -> list[str]:
    """Why rows are in no split, and what policies changed, by source; nothing where there is nothing to say."""
    result = []
    sections: list[tuple[str, str, Mapping[Any, str]]] = [
        ("reasons", "## Rows in no split", errors.REASONS),
        ("effects", "## Rows that a policy changed", EFFECTS),
    ]
    for kind, title, meaning in sections:
        found: Counter[tuple[str, str]] = Counter()
        for name, each in report["sources"].items():
            found.update({(name, reason): count for reason, count in each[kind].items()})
        rows = [(name, reason, count, meaning[reason]) for (name, reason), count in sorted(found.items())]
        if rows:
            result += [title, markdown_table(["source", "reason", "rows", "meaning"], rows)]
    return result


def length_section(report: dict[str, Any]) -> list[str]:
    """Percentiles of tokens, with the template."""
    found = report["lengths"]
    rows = [
        [f"{name}, {what}", *found[kind][name].values()]
        for kind, what in (("tokens", "whole row"), ("learned", "learned part"))
        for name in found[kind]
    ]
    rest = f"{found['measured']:,} rows measured" + (
        f", {found['refused']:,} refused by the template" * bool(found["refused"])
    )
    return ["## Tokens", markdown_table(["split", *(f"{p} %" for p in PERCENTILES)], rows), rest + "."]


def markdown_table(header: list[str], rows: Iterable[Iterable[Any]]) -> str:
    """In Markdown; numbers stand right."""
    lines = [[f"{cell:,}" if isinstance(cell, int) else str(cell).replace("|", "\\|") for cell in row] for row in rows]
    right = [all(line[i][:1].isdigit() for line in lines) for i in range(len(header))]
    return "\n".join(
        f"| {' | '.join(line)} |" for line in [header, ["---:" if each else "---" for each in right], *lines]
    )


EFFECTS = {
    "newlines": "CR LF became LF",
    "whitespace": "white space around a text was taken away",
    "empty": "an empty turn was taken out",
    "system": "system turns were taken out",
    "order": "neighbouring turns of one role became one",
    "unanswered": "turns behind the last reply were cut",
    "overlong": "turns were cut so that the row fits into data.max_tokens",
    "email": "an e-mail address became [email]",
    "phone": "a telephone number became [phone]",
    "iban": "an IBAN became [iban]",
}
