"""What `refrain trace` prints."""

import shutil
from typing import Any

from refrain.chat.control_characters import escape_controls
from refrain.experiments.text_tables import text_table
from refrain.pipeline.plurals import format_count

WIDTH = 100  # of a line that goes into a file


def describe_answer(traced: dict[str, Any]) -> str:
    """The answer, what made it, whether it was asked before, and the rows that are nearest in words."""
    said = [(name, one_paragraph(traced[name])) for name in ("question", "answer")]
    parts = [text_table([*said, *describe_artifact(traced["artifact"])])]
    words = traced["words"]
    if "problem" in words:
        return "\n\n".join([*parts, words["problem"]])
    parts.append(describe_asked(words["asked_in"]))
    if words["is_data_of_model"] is False:
        parts.append("data/prepared is not what this model was trained on: these rows are of another run")
    prepared = format_count(words["rows"], "prepared row")
    prepared = f"{words['indexed']:,} of {prepared}" if words["indexed"] < words["rows"] else prepared
    title = f"nearest in words, of {prepared} (BM25, 1 for the question itself)"
    rows = [describe_row(row, f"{row['score']:.2f}") for row in words["nearest"]]
    return "\n\n".join([*parts, "\n".join([title, *(rows or ["    none shares a word with it"])])])


def describe_artifact(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """A line for each thing that is known."""
    seed = facts["seed_of_training"]
    method = facts["method"] and facts["method"] + ("" if seed is None else f", seed {seed}")
    data = [part for part in (facts["data"], facts["data_md5"] and f"md5 {facts['data_md5']}") if part]
    sha256 = (facts["data_sha256"] or {}).get("train.jsonl")
    named = {
        "artifact": f"{facts['folder']}, {facts['variant']}",
        "seal": facts["seal"],
        "commit": facts["commit"] and f"{facts['commit']} of {facts['committed']}",
        "base": facts["base"],
        "data": ", ".join([*data, *([f"train.jsonl sha256 {sha256}"] if sha256 else [])]),
        "method": method,
    }
    return [(name, value) for name, value in named.items() if value]


def describe_asked(asked: dict[str, Any] | None) -> str:
    """Whether the question was in training, validation or test."""
    if asked is None:
        return "asked before: in no split, neither word for word nor nearly"
    wording = "the same question" if asked["match"] == "same" else "nearly the same question"
    split = {"train": "training", "val": "validation", "test": "test"}[asked["split"]]
    return f"asked before: in {split}, {wording}, {place_of(asked)}"


def describe_influence(influence: dict[str, Any]) -> str:
    """The rows that have shaped the answer, or why they are not known."""
    if "problem" in influence:
        return f"\n{influence['problem']}"
    compared = format_count(influence["compared"], "training row")
    title = (f"\nnearest by influence, of {compared} (cosine of gradients by {influence['weights']:,} weights "
             f"{influence['place']})")  # fmt: skip
    return "\n".join([title, *(describe_row(row, f"{row['cosine']:.2f}") for row in influence["rows"])])


def describe_row(row: dict[str, Any], score: str) -> str:
    """A row on three lines: score, split and place, its question, its answer."""
    head = "  ".join(part for part in (score.rjust(5), row["split"], place_of(row), row.get("match") or "") if part)
    return "\n".join([head, *(f"{' ' * 7}{one_line(row[name], 7)}" for name in ("question", "answer"))])


def place_of(row: dict[str, Any]) -> str:
    """File and line, as editors open it."""
    return row["source"] if row["line"] is None else f"{row['source']}:{row['line']}"


def one_paragraph(text: str) -> str:
    """A text without line breaks, and without what a terminal would obey."""
    return escape_controls(" ".join(text.split()))


def one_line(text: str, used: int = 10) -> str:
    """A text without line breaks, cut where the terminal ends."""
    joined, room = one_paragraph(text), max(20, shutil.get_terminal_size((WIDTH, 24)).columns - used)
    return joined if len(joined) <= room else f"{joined[: room - 1]}…"
