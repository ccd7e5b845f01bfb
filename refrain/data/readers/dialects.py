"""The dialect of a table: what stands between its cells and around them, and what that says of a line."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}


QUOTES = {'"': "double quotes", "'": "single quotes", "": "no quotes"}


@dataclass(frozen=True)
class Dialect:
    """How the records of a table are written."""

    delimiter: str
    quote: str = '"'  # nothing: cells are not quoted
    escape: str = ""  # before a sign that is text; nothing: a quote within quotes stands twice
    skips_space: bool = False  # blanks before a cell are no text, so that a quote may follow on them

    def read_cells(self, lines: Iterator[str]) -> Any:
        """The csv reader of these lines."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote or None,
            escapechar=self.escape or None,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            skipinitialspace=self.skips_space,
            strict=True,
        )

    def has_odd_quotes(self, text: str) -> bool:
        if not self.quote or self.quote not in text:
            return False
        if self.escape and self.escape in text:
            text = escape_pattern(self).sub("", text)
        return text.count(self.quote) % 2 == 1

    def has_bare_quote(self, text: str) -> bool:
        """Whether a quote stands in a cell that is not in quotes: it may end a text that began lines before."""
        return bool(self.quote) and self.quote in text and not record_pattern(self).fullmatch(text)

    def may_close(self, line: str) -> bool:
        """Whether the first quote of a line may end a text of several lines."""
        return bool(self.quote) and closing_pattern(self).match(line) is not None

    def keep_text(self, line: str) -> str:
        """The line for the csv reader, which would drop every escape: one that escapes nothing is text."""
        if not self.escape or self.escape not in line:
            return line
        return escape_pattern(self).sub(lambda match: match[0] if match[1] else 2 * self.escape, line)

    def describe(self) -> str:
        """In words, as in reports."""
        delimiter = DELIMITERS.get(self.delimiter, f"the sign {self.delimiter!r}")
        words = f"{delimiter} between cells, {QUOTES.get(self.quote, f'the sign {self.quote!r}')} around them"
        words += f", {self.escape} before signs that are text" if self.escape else ""
        return words + (", blanks before cells left out" if self.skips_space else "")


@cache
def escape_pattern(dialect: Dialect) -> re.Pattern[str]:
    """An escape and what it escapes: within quotes that is no delimiter, which needs none there."""
    signs = re.escape(dialect.escape + (dialect.quote or dialect.delimiter + '"'))
    return re.compile(f"{re.escape(dialect.escape)}([{signs}\r\n]?)")


@cache
def record_pattern(dialect: Dialect) -> re.Pattern[str]:
    """A record whose quotes stand around whole cells."""
    quote, delimiter = re.escape(dialect.quote), re.escape(dialect.delimiter)
    escape = re.escape(dialect.escape)
    text = f"(?:{quote}{quote}|{escape}.)" if escape else f"{quote}{quote}"
    quoted = f"{' *+' if dialect.skips_space else ''}{quote}[^{quote}{escape}]*+(?:{text}[^{quote}{escape}]*+)*+{quote}"
    bare = f"[^{quote}{delimiter}{escape}\r\n]*+"
    plain = f"{bare}(?:{escape}.{bare})*+" if escape else bare
    return re.compile(f"(?:{quoted}|{plain})(?:{delimiter}(?:{quoted}|{plain}))*+[\r\n]*", re.DOTALL)


@cache
def closing_pattern(dialect: Dialect) -> re.Pattern[str]:
    """A line whose first quote stands before a delimiter or at the end."""
    return re.compile(f"{before_quote(dialect)}{re.escape(dialect.quote)}(?:{re.escape(dialect.delimiter)}|[\r\n]|$)")


def before_quote(dialect: Dialect) -> str:
    quote, escape = re.escape(dialect.quote), re.escape(dialect.escape)
    return f"[^{quote}{escape}]*(?:{escape}.[^{quote}{escape}]*)*" if escape else f"[^{quote}]*"
