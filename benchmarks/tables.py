"""Rows of text as a table: aligned for a terminal, or in Markdown."""

Rows = list[list[str]]  # the first is the header


def aligned(rows: Rows) -> str:
    """Columns as wide as their widest cell, numbers to the right; a row of fewer cells ends with a sentence."""
    whole = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    return "\n".join(line(row, widths) for row in rows)


def line(row: list[str], widths: list[int]) -> str:
    name, *cells = row
    if len(row) < len(widths):
        return f"{name:<{widths[0]}}  {'  '.join(cells)}"
    return "  ".join([f"{name:<{widths[0]}}", *(f"{cell:>{n}}" for cell, n in zip(cells, widths[1:], strict=True))])


def markdown(rows: Rows) -> str:
    """The same rows; what a short one says stands in its second column."""
    columns = len(rows[0])
    header, *rest = (f"| {' | '.join(row + [''] * (columns - len(row)))} |" for row in rows)
    return "\n".join([header, "|---|" + "---:|" * (columns - 1), *rest])
