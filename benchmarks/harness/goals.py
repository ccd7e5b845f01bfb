"""What was wanted of speed, and the cells of docs/results.md that say what was reached."""

import re
from dataclasses import dataclass

from benchmarks.harness.tables import Rows

Texts = dict[str, dict[str, str]]  # of the runs of each block, by processor


@dataclass(frozen=True)
class Goal:
    """One number: it stands in the table of a block, in the first row that begins so, under a column."""

    what: str
    against: str
    wanted: float
    block: str
    row: str
    column: str
    is_at_most: bool = False


RATIO = "median (range) over rounds"
CALM, BUSY = "x libraries, alone", "x libraries, two at once"
GOALS = (
    Goal("int8, one token at a time", "genai int8", 1.25, "decode", "refrain int8 against genai int8", RATIO),
    Goal("int4, one token at a time", "genai int4", 1.25, "decode", "refrain int4 against genai int4", RATIO),
    Goal("int8, prompts", "genai int8", 1.7, "decode", "refrain int8, prefill, against genai int8", RATIO),
    Goal("int8, prompts", "OpenVINO int8", 1.25, "decode", "refrain int8, prefill, against openvino int8", RATIO),
    Goal("int8, 8 rows", "OpenVINO int8", 1.15, "decode", "refrain int8, 8 rows, against openvino int8", RATIO),
    Goal("int8, 32 rows", "OpenVINO int8", 1.15, "decode", "refrain int8, 32 rows, against openvino int8", RATIO),
    Goal("prompt lookup, repetitive texts", "without", 1.5, "speculation", "repetitive texts", "x"),
    Goal("training in fp32, supervised tokens/s", "TRL's defaults", 4, "train", "refrain fp32", "x trl"),
    Goal("training in bf16, supervised tokens/s", "TRL's defaults", 5, "train", "refrain bf16", "x trl"),
    *(
        Goal(f"{work}, {name}", "libraries' threads", wanted, "contention", work, column)
        for work in ("training", "decoding")
        for name, wanted, column in (("alone", 0.98, CALM), ("two at once", 1.24, BUSY))
    ),
    Goal(
        "a token of 49,152 sampled, microseconds", "", 100, "sampling", "microseconds", "temperature 1", is_at_most=True
    ),
    Goal("export and proof of 270 M, CPU s", "before", 0.5, "memory", "export_onnx", "x before", is_at_most=True),
    Goal("prepare, 100,000 rows, rows/s", "", 13_000, "prepare", "refrain 100,000", "rows/s"),
    Goal("prepare, 1,000,000 rows, rows/s", "", 15_000, "prepare", "refrain 1,000,000", "rows/s"),
    Goal("prepare, 1,000,000 rows, peak MB", "", 1_500, "prepare", "refrain 1,000,000", "peak MB", is_at_most=True),
    Goal("make demo without its install, seconds", "", 240, "stages", "seconds", "all", is_at_most=True),
    Goal("stages.STAGE --help, CPU s", "", 0.05, "startup", "stages.STAGE --help", "CPU s", is_at_most=True),
    Goal("an unknown key, CPU s", "", 0.05, "startup", "stages.train train.lrr=3", "CPU s", is_at_most=True),
    Goal("refrain chat --prompt, CPU s", "", 0.20, "startup", "refrain chat --prompt", "CPU s", is_at_most=True),
    Goal("dvc repro, nothing to do, CPU s", "", 0.55, "startup", "dvc repro", "CPU s", is_at_most=True),
)


def table(texts: Texts) -> Rows:
    """A line for each goal: what was wanted, and on each processor whether it was reached and what by."""
    blocks = {goal.block for goal in GOALS}
    processors = [*dict.fromkeys(name for block, runs in texts.items() if block in blocks for name in runs)]
    return [["what", "against", "wanted", *processors, "numbers"], *(line(goal, texts, processors) for goal in GOALS)]


def line(goal: Goal, texts: Texts, processors: list[str]) -> list[str]:
    cells = [verdict(goal, texts.get(goal.block, {}).get(processor, "")) for processor in processors]
    limit = f"{'at most ' if goal.is_at_most else ''}{goal.wanted:,g}"
    return [goal.what, goal.against, limit, *cells, goal.block]


def verdict(goal: Goal, text: str) -> str:
    """`yes` or `no` with the cell that says so, by its first number; `-` where the text has none."""
    cell = find_cell(text, goal.row, goal.column) or "-"
    number = re.search(r"-?[\d,]*\.?\d+", cell)
    if number is None:
        return cell
    value = float(number[0].replace(",", ""))
    return f"{'yes' if (value <= goal.wanted if goal.is_at_most else value >= goal.wanted) else 'no'}: {cell}"


def find_cell(text: str, row: str, column: str) -> str | None:
    """The cell of a Markdown table under `column`, of the first row whose cells, joined by blanks, begin so."""
    header: list[str] = []
    above: list[str] = []
    for cells in (split_row(line) for line in text.splitlines()):
        if not header or not cells:
            header = above = cells
            continue
        first = next((i for i, cell in enumerate(cells) if cell), 0)
        above = above[:first] + cells[first:]  # what is left blank is as in the row above
        if column in header and " ".join(above).startswith(row):
            return above[header.index(column)]
    return None


def split_row(line: str) -> list[str]:
    """The cells of a row; none of what is no row."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
