"""The data as a person wants to see it: counts, reasons, lengths in tokens, rows with the trained tokens marked."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refrain.chat import preview
from refrain.chat.control_characters import escape_controls
from refrain.chat.encoding import ChatTokenizer, ask_with_opening
from refrain.chat.records import Row
from refrain.data import split_files, token_counts, training_rows
from refrain.data.row_preparer import RowPreparer
from refrain.data.shapes import errors
from refrain.data.split_files import PLACES
from refrain.data.splitting.leakage import NONE, SPLITS, TRAIN
from refrain.data.splitting.row_store import RowStore
from refrain.data.splitting.splits import Assignment
from refrain.pipeline.plurals import format_count

MAX_MEASURED_ROWS, MAX_MEASURED_BYTES = 3_000, 2_000_000  # of rows whose tokens are counted: a cost that does not grow


SAMPLE_ROWS = 10


MAX_SAMPLE_LENGTH = 4_000  # characters of a row that is shown


PERCENTILES = (0, 50, 90, 99, 100)


HISTOGRAM_BINS = 20


BAD_REPLIES = """## Rows whose reply is a bad one

`label` or `kto_tag` is false: method=kto learns from them what not to say, all other methods leave them out."""


EFFECTS = {
    "context": "a reply that says weight 0, train false or the like is context alone, or cut at the end",
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


@dataclass
class TokenLengths:
    """Tokens of rows, by split: of the whole row with its template, and how many of them are learned."""

    tokens: dict[str, list[int]]
    learned: dict[str, list[int]]
    refused_ids: list[str]  # of rows that the template does not take


def measure_lengths(
    store: RowStore, assignment: Assignment, preparer: RowPreparer, tokenizer: ChatTokenizer
) -> TokenLengths:
    """All rows, or some of them by chance."""
    lengths = TokenLengths({name: [] for name in SPLITS}, {name: [] for name in SPLITS}, [])
    rows = sample_rows(store, np.flatnonzero(assignment.split != NONE), MAX_MEASURED_ROWS, MAX_MEASURED_BYTES)
    counts = token_counts.count_tokens(store.read_texts(rows.tolist()), preparer, tokenizer.template)
    for split, (refused_id, tokens, learned) in zip(assignment.split[rows].tolist(), counts, strict=True):
        if refused_id:
            lengths.refused_ids.append(refused_id)
            continue
        lengths.tokens[SPLITS[split]].append(tokens)
        if learned is not None:
            lengths.learned[SPLITS[split]].append(learned)
    return lengths


def tokenizer_of_training(store: RowStore, assignment: Assignment, tokenizer: ChatTokenizer) -> ChatTokenizer:
    """The tokenizer as training will ask with it, as far as all rows, or some of them by chance, tell."""
    rows = sample_rows(store, np.flatnonzero(assignment.split != NONE), MAX_MEASURED_ROWS, MAX_MEASURED_BYTES)
    return ask_with_opening(tokenizer, read_rows(store, rows))


def sample_rows(store: RowStore, rows: Any, count: int, size: int = 1 << 62) -> Any:
    """So many rows or bytes, the same ones whenever they are asked for, in the order of the file; one at least."""
    shuffled = rows[np.argsort(store["content"][rows], kind="stable")[:count]]
    fitting_count = np.searchsorted(np.cumsum(store["text"][shuffled]), size, side="right")
    return np.sort(shuffled[: max(1, fitting_count)])


def read_rows(store: RowStore, rows: Any) -> Iterator[Row]:
    return (json.loads(text) for text in store.read_texts(rows.tolist()))


def length_percentiles(lengths: TokenLengths) -> dict[str, Any]:
    """What reports/data.json says of lengths."""
    result: dict[str, Any] = {"measured": sum(map(len, lengths.tokens.values())), "refused": len(lengths.refused_ids)}
    for kind, of_split in (("tokens", lengths.tokens), ("learned", lengths.learned)):
        result[kind] = {
            name: {f"p{p}": int(np.percentile(values, p, method="lower")) for p in PERCENTILES}
            for name, values in of_split.items()
            if values
        }
    return result


def write_histogram(lengths: TokenLengths, file: Path) -> None:
    """Rows by length, a column for each split; the first column is where a bin ends."""
    longest = max((max(values) for values in lengths.tokens.values() if values), default=1)
    edges = np.unique(np.linspace(0, longest, HISTOGRAM_BINS + 1).round().astype(int))
    counts = [np.histogram(np.array(lengths.tokens[name]) - 0.5, edges)[0] for name in SPLITS]
    with file.open("w", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(
            [("tokens", *SPLITS), *zip(edges[1:].tolist(), *(column.tolist() for column in counts), strict=True)]
        )


def render_datasheet(report: dict[str, Any], store: RowStore, assignment: Assignment, tokenizer: ChatTokenizer) -> str:
    """reports/data.md."""
    rows = sample_rows(store, np.flatnonzero(assignment.split == TRAIN), SAMPLE_ROWS)
    counts = [*counts_section(report), *layout_section(report), *reason_sections(report), *length_section(report)]
    samples = [f"`{row['id']}`\n\n```\n{sample_text(tokenizer, row)}\n```" for row in read_rows(store, rows)]
    return "\n\n".join(["# Data", *counts, "## Rows to learn from, the trained tokens marked", *samples]) + "\n"


def sample_text(tokenizer: ChatTokenizer, row: Row) -> str:
    try:
        text = preview.preview_row(tokenizer, row).replace("```", "`\u200b``")  # a fence within would end ours
    except ValueError as error:
        return f"not shown: {error}"
    half = MAX_SAMPLE_LENGTH // 2
    return text if len(text) <= MAX_SAMPLE_LENGTH else f"{text[:half]} [...] {text[-half:]}"


def counts_section(report: dict[str, Any]) -> list[str]:
    header = ["source", "rows", *(place.replace("_", " ") for place in PLACES)]
    sources = [*report["sources"].items(), ("all", report)]
    table = markdown_table(header, ([name, *(counts[key] for key in ("rows", *PLACES))] for name, counts in sources))
    sentence = training_rows.describe_empty_splits(report)
    return [table, f"{sentence[0].upper()}{sentence[1:]}."] if sentence else [table]


def layout_section(report: dict[str, Any]) -> list[str]:
    """What was recognised of each source."""
    rows = []
    for name, source in report["sources"].items():
        if layout := source["layout"]:
            columns = [f"`{column}`" + f" as {ours}" * (ours != column) for ours, column in layout["columns"].items()]
            splits = [f"`{value}` to {split}" for value, split in layout["splits"].items()]
            rows.append((name, layout["shape"], ", ".join(columns), ", ".join(splits)))
    return ["## How rows are read", markdown_table(["source", "shape", "columns", "splits"], rows)] if rows else []


def reason_sections(report: dict[str, Any]) -> list[str]:
    """Why rows are in no split, and what policies changed, by source; nothing where there is nothing to say."""
    result = []
    sections: list[tuple[str, str, Mapping[Any, str]]] = [
        ("reasons", "## Rows in no split", errors.REASONS),
        ("effects", "## Rows that a policy changed", EFFECTS),
    ]
    for kind, title, meaning in sections:
        counts: Counter[tuple[str, str]] = Counter()
        for name, source in report["sources"].items():
            counts.update({(name, reason): count for reason, count in source[kind].items()})
        rows = [(name, reason, count, meaning[reason]) for (name, reason), count in sorted(counts.items())]
        if rows:
            result += [title, markdown_table(["source", "reason", "rows", "meaning"], rows)]
        if rows and kind == "reasons":
            result.append(examples_list(report))
    bad = [(name, split, rows) for name, source in report["sources"].items()
           for split, rows in source.get("bad_replies", {}).items()]  # fmt: skip
    if bad:
        result += [BAD_REPLIES, markdown_table(["source", "split", "rows"], bad)]
    ignored = [f"- {name}: {split_files.describe_ignored({f'`{field}`': rows for field, rows in fields.items()})}"
               for name, source in report["sources"].items() if (fields := source["ignored"])]  # fmt: skip
    if ignored:
        result += ["## Fields that nothing reads", "\n".join(ignored)]
    formats = [f"- {name}: {source['format']}" for name, source in report["sources"].items() if source["format"]]
    if formats:
        result += ["## How files are read", "\n".join(formats)]
    return result + short_questions_section(report)


def short_questions_section(report: dict[str, Any]) -> list[str]:
    """Held-out questions that training rows say too, if there are any."""
    short = [(f"`{row['id']}`", inline_code(row["question"]), row["training_rows"])
             for row in report.get("short_questions", [])]  # fmt: skip
    table = markdown_table(["row", "question", "training rows that say it"], short)
    return ["## Held-out questions too short to keep out of training chats", table] if short else []


def examples_list(report: dict[str, Any]) -> str:
    """The first rows of each reason, with what is wrong."""
    examples = [(reason, example) for source in report["sources"].values()
                for reason, of_reason in source["examples"].items() for example in of_reason]  # fmt: skip
    lines = [f"- `{example['id']}`, {reason}: {inline_code(example['message'])}" for reason, example in examples]
    return "The first of each:\n\n" + "\n".join(lines)


def inline_code(text: str) -> str:
    """A text that Markdown shows as it is, on one line."""
    return f"`` {escape_controls(' '.join(text.split())).replace('``', '` `')} ``"


def length_section(report: dict[str, Any]) -> list[str]:
    """Percentiles of tokens, with the template."""
    lengths = report["lengths"]
    rows = [
        [f"{name}, {what}", *lengths[kind][name].values()]
        for kind, what in (("tokens", "whole row"), ("learned", "trained tokens"))
        for name in lengths[kind]
    ]
    note = f"{format_count(lengths['measured'], 'row')} measured"
    if lengths["refused"]:
        note += f", {lengths['refused']:,} refused by the template"
    return ["## Tokens", markdown_table(["split", *(f"{p} %" for p in PERCENTILES)], rows), note + "."]


def markdown_table(header: list[str], rows: Iterable[Iterable[Any]]) -> str:
    """Cells in Markdown; numbers stand right."""
    lines = [[f"{cell:,}" if isinstance(cell, int) else str(cell).replace("|", "\\|") for cell in row] for row in rows]
    is_number = [all(line[i][:1].isdigit() for line in lines) for i in range(len(header))]
    rule = ["---:" if is_right else "---" for is_right in is_number]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, rule, *lines])
