"""Rows of text as a table: aligned for a terminal, or in Markdown."""

Rows = list[list[str]]  # the first is the header


def align(rows: Rows) -> str:
    """Columns as wide as their widest cell, numbers to the right; a row of fewer cells ends with a sentence."""
    full_rows = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(map(len, column)) for column in zip(*full_rows, strict=True)]
    return "\n".join(format_line(row, widths) for row in rows)


def without_empty_columns(rows: Rows) -> Rows:
    """The rows without columns in which no row has more than a dash."""
    header, *lines = rows
    kept = [i for i in range(len(header)) if any(len(line) == len(header) and line[i] != "-" for line in lines)]
    return [[row[i] for i in kept] if len(row) == len(header) else row for row in rows]


def format_line(row: list[str], widths: list[int]) -> str:
    name, *cells = row
    if len(row) < len(widths):
        return f"{name:<{widths[0]}}  {'  '.join(cells)}"
    return "  ".join([f"{name:<{widths[0]}}", *(f"{cell:>{n}}" for cell, n in zip(cells, widths[1:], strict=True))])


def to_markdown(rows: Rows) -> str:
    """The same rows; what a short one says stands in its second column."""
    columns = len(rows[0])
    header, *lines = (f"| {' | '.join(row + [''] * (columns - len(row)))} |" for row in rows)
    return "\n".join([header, "|---|" + "---:|" * (columns - 1), *lines])
