"""Rows as text whose columns stand below each other, in a terminal and in Markdown."""

from collections.abc import Sequence


def text_table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns below each other, all flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in padded)


def number_table(rows: list[list[str]]) -> str:
    """Columns below each other, the first flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def markdown_table(rows: list[list[str]]) -> str:
    """A Markdown table whose columns stand below each other in plain text too."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rule = ["-" * width + ("" if i == 0 else ":") for i, width in enumerate(widths)]
    rule = [part[1:] if i else part for i, part in enumerate(rule)]
    lines = [[cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
             for row in rows]  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])
