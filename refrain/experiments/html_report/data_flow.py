"""Which files the rows came from, and what became of them: flows, numbers, and why some are in no split."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from refrain.data.rejected_rows import by_frequency
from refrain.data.shapes import errors
from refrain.data.split_files import PLACES
from refrain.experiments.data_table import strip_number
from refrain.experiments.html_report import svg
from refrain.experiments.html_report.markup import details, escape, paragraph, plain_table, tag
from refrain.experiments.html_report.page import Section
from refrain.pipeline.plurals import format_count

MOST_SOURCES = 12  # drawn by name; the smallest beyond are one flow
THICKEST = 190  # pixels that all rows have together
EXAMPLES = 3  # of rows, for each reason
FATES = {
    "train": "to learn from",
    "val": "to watch the training",
    "test": "to judge by",
    "duplicates": "said by others",
    "quarantined": "broken",
    "set_aside": "filtered",
}


@dataclass(frozen=True)
class Node:
    """A file, or a fate, of so many rows, and where it stands."""

    name: str
    rows: int
    top: float
    height: float
    label: float  # the middle of its label

    @property
    def middle(self) -> float:
        return self.top + self.height / 2


def data_section(data: dict[str, Any]) -> Section:
    """The section of a reports/data.json."""
    files, left_out = len(data["sources"]), data["rows"] - sum(data[split] for split in ("train", "val", "test"))
    others = f"{left_out:,} {'is' if left_out == 1 else 'are'}" if left_out else "none is"
    said = (f"The data are {format_count(data['rows'], 'row')} of {format_count(files, 'file')}, each in exactly one "
            f"place: {data['train']:,} are learned from, {data['val']:,} watch the training, {data['test']:,} judge "
            f"it, and {others} in no split.")  # fmt: skip
    body = paragraph(said) + svg.figure(lambda width: draw_flows(data, width))
    body += details("The numbers by file", plain_table("Rows by file and place", *count_rows(data)))
    return Section("Data", body + reasons(data))


def count_rows(data: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the table."""
    sources = [*zip(name_sources(data), data["sources"].values(), strict=True), ("all", data)]
    rows = [[name, *(f"{source[place]:,}" for place in ("rows", *PLACES))] for name, source in sources]
    return ["file", "rows", *(place.replace("_", " ") for place in PLACES)], rows


def name_sources(data: dict[str, Any]) -> list[str]:
    """Each file by its own name; those of two folders that have one name keep the number before it."""
    names = Counter(map(strip_number, data["sources"]))
    return [name if names[strip_number(name)] > 1 else strip_number(name) for name in data["sources"]]


def draw_flows(data: dict[str, Any], width: int) -> str:
    """Files on the left, fates on the right, and between them what went where, as thick as it has rows."""
    flows = group_flows(data)
    fates = [place for place in PLACES if data[place]]
    sources = place_nodes(list(flows), [sum(flow.values()) for flow in flows.values()], data["rows"])
    targets = place_nodes(fates, [data[place] for place in fates], data["rows"])
    left, right = (190, width - 190) if width >= svg.WIDE else (110, width - 105)
    starts, ends = {node.name: node.top for node in sources}, {node.name: node.top for node in targets}
    bands = []
    for name, flow in flows.items():
        for fate in fates:
            size = THICKEST * flow.get(fate, 0) / max(data["rows"], 1)
            if size:
                bands.append(draw_band((left, starts[name]), (right, ends[fate]), size, f"flow {fate}"))
                starts[name] += size
                ends[fate] += size
    height = max((node.top + node.height for node in [*sources, *targets]), default=0) + svg.LINE
    labels = [draw_label(node, left - 10, "end", width) for node in sources]
    labels += [draw_label(node, right + 10, "start", width) for node in targets]
    edges = [svg.rect(left - 2, node.top, 2, max(node.height, 1), "node") for node in sources]
    edges += [svg.rect(right, node.top, 2, max(node.height, 1), f"node {node.name}") for node in targets]
    start = f"{format_count(data['rows'], 'row')} from {format_count(len(data['sources']), 'file')}"
    said = f"Flows of {start} to {', '.join(fates)}; numbers follow"
    return svg.picture(width, height, said, *bands, *edges, *labels)


def group_flows(data: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Rows by file and fate, the largest files first, those beyond the most that are drawn as one."""
    counted = {
        name: {place: source[place] for place in PLACES if source[place]}
        for name, source in zip(name_sources(data), data["sources"].values(), strict=True)
        if source["rows"]
    }
    order = list(counted)
    if len(order) <= MOST_SOURCES:
        return counted
    large = sorted(order, key=lambda name: -sum(counted[name].values()))[: MOST_SOURCES - 1]
    small = [counted[name] for name in order if name not in large]
    rest = {place: sum(flow.get(place, 0) for flow in small) for place in PLACES}
    return {name: counted[name] for name in order if name in large} | {format_count(len(small), "more file"): rest}


def place_nodes(names: Sequence[str], rows: Sequence[int], total: int) -> list[Node]:
    """Below each other, each with room for two lines of text."""
    nodes, top = [], 4.0
    for name, count in zip(names, rows, strict=True):
        height = THICKEST * count / max(total, 1)
        room = max(height, 2.4 * svg.LINE)
        nodes.append(Node(name, count, top + (room - height) / 2, height, top + room / 2))
        top += room + 6
    return nodes


def draw_band(start: tuple[float, float], end: tuple[float, float], size: float, class_: str) -> str:
    """A curve from one edge to the other, of one thickness."""
    (x1, y1), (x2, y2) = start, end
    middle, n = (x1 + x2) / 2, svg.number
    size = max(size, 0.8)
    upper = f"M{n(x1)} {n(y1)}C{n(middle)} {n(y1)} {n(middle)} {n(y2)} {n(x2)} {n(y2)}"
    lower = f"V{n(y2 + size)}C{n(middle)} {n(y2 + size)} {n(middle)} {n(y1 + size)} {n(x1)} {n(y1 + size)}Z"
    return tag("path", "", d=upper + lower, class_=class_)


def draw_label(node: Node, x: float, anchor: str, width: int) -> str:
    """Its name, and below it how many rows; on a telephone long names are cut in their middle."""
    most = 26 if width >= svg.WIDE else 15
    name = node.name.replace("_", " ")
    name = name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-(most // 2) :]}"
    means = f", {FATES[node.name]}" if anchor == "start" and width >= svg.WIDE else ""
    return svg.text(x, node.label - 2, name, None, anchor) + svg.text(
        x, node.label + 13, f"{node.rows:,}{means}", "quiet", anchor
    )


def reasons(data: dict[str, Any]) -> str:
    """Why rows are in no split, each reason with its first rows."""
    if not data["reasons"]:
        return ""
    counted = by_frequency(data["reasons"])
    meanings: dict[str, str] = dict(errors.REASONS.items())
    rows = [[reason.replace("_", " "), meanings[reason].replace("`", ""), f"{count:,}"] for reason, count in counted]
    table = plain_table("Rows in no split, by reason", ["reason", "what it means", "rows"], rows, 2)
    examples = [tag("li", describe_example(each)) for reason, _ in counted for each in list_examples(data, reason)]
    shown = details("Some of these rows", tag("ul", "".join(examples))) if examples else ""
    return tag("h3", "Rows in no split") + table + shown


def list_examples(data: dict[str, Any], reason: str) -> list[dict[str, Any]]:
    found = [each for source in data["sources"].values() for each in source["examples"].get(reason, [])]
    return found[:EXAMPLES]


def describe_example(example: dict[str, Any]) -> str:
    return f"{tag('code', escape(strip_number(example['id'])))} {escape(example['message'])}"
