"""Markdown of a model card: tables, numbers, headings."""

from collections.abc import Iterable, Sequence

HEADING = "\n## "


def section(title: str, *paragraphs: str) -> str:
    """A heading with its paragraphs; empty ones are left out."""
    return f"{HEADING}{title}\n\n" + "\n\n".join(filter(None, paragraphs)) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[object]], text_columns: int = 1) -> str:
    """A table whose first columns are text; the others are numbers, flush right."""
    marks = ["---" if number < text_columns else "---:" for number in range(len(header))]
    lines = [header, marks, *([escape(str(cell)) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escape(text: str) -> str:
    """A text that stays within its cell."""
    return " ".join(text.replace("|", "\\|").split())


def number(value: float | None) -> str:
    """At most four significant digits of a small number, whole ones with commas."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def interval(bounds: Sequence[float] | None) -> str:
    """From low to high, as a score is written."""
    return "" if bounds is None else f"{number(bounds[0])} to {number(bounds[1])}"


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.2f} MB"
