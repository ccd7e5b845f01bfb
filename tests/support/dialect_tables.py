"""Tables in sixty dialects, whose rows are known by value, line and offset."""

import csv
import io
import random
from itertools import product
from typing import NamedTuple

QUOTES = [('"', ""), ('"', "\\"), ("'", ""), ("", "\\"), ("", "")]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"]
LETTERS = ["fog", "a low cloud", "rain", "caf\xe9", "snow-flake", "sleet", "na\xefve", "hail"]


class TableDialect(NamedTuple):
    delimiter: str
    quote: str
    escape: str
    line_end: str
    has_header: bool
    encoding: str

    @property
    def name(self):
        return "x.tsv" if self.delimiter == "\t" and self.has_header else "x.csv"

    @property
    def source(self):
        return {"encoding": "cp1252"} if self.encoding == "cp1252" else {}


DIALECTS = [
    TableDialect(
        delimiter, *QUOTES[quote], ("\n", "\r\n", "\r")[nth], (quote + nth) % 4 != 3, ENCODINGS[(number + nth) % 5]
    )
    for nth in range(3)
    for number, (delimiter, quote) in enumerate(product(",;\t|", range(len(QUOTES))))
]


def make_texts(dialect, rng):
    """A question and an answer with what the dialect can hold."""
    words = rng.sample(LETTERS, 3)
    question, answer = f"What is {words[0]} {rng.randrange(10**6)}?", " ".join(words)
    signs = [f" isn't {words[0]}", ' 5" long']
    if dialect.quote or dialect.escape:
        signs += [f"{dialect.delimiter} and {words[1]}", "\nsecond line", f' "so" {words[2]}', "\n\n'third' line"]
    if dialect.escape or dialect.quote:
        signs += [" C:\\new\\" if dialect.escape else " C:\\new"]
    if not (dialect.quote or dialect.escape):
        answer = rng.choice(["", "", '"', "\\"]) + answer
    if rng.random() < 0.4:
        answer += "".join(rng.sample(signs, rng.randint(1, 2)))
    return question, answer.replace("\n", dialect.line_end.replace("\r\n", "\n")) + "."


def write_row(dialect, cells):
    if not (dialect.quote or dialect.escape):
        return dialect.delimiter.join(cells) + dialect.line_end
    out = io.StringIO()
    writer = csv.writer(
        out,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote or '"',
        escapechar=dialect.escape or None,
        doublequote=not dialect.escape,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        lineterminator=dialect.line_end,
    )
    writer.writerow(cells)
    return out.getvalue()


def bad_line(dialect, rng):
    """A line that is no row."""
    bad_bytes = {"utf-8": "\udcff", "utf-8-sig": "\udcff", "cp1252": "\udc81"}.get(dialect.encoding, "\ud800")
    kinds = [f"What is {bad_bytes}?{dialect.delimiter}Nothing.", "# exported again",
             dialect.delimiter.join(["What is it?", "No", "idea."])]  # fmt: skip
    if dialect.quote:
        quote = dialect.quote
        kinds += [f"What is it?{dialect.delimiter}{quote}He said {quote}no{quote} to me.{quote}",
                  f"What is it?{dialect.delimiter}{quote}It is not known."]  # fmt: skip
    return rng.choice(kinds) + dialect.line_end


def encode(dialect, text):
    if dialect.encoding.startswith("utf-16"):
        return text.encode("utf-16-be" if dialect.encoding == "utf-16-be" else "utf-16-le", "surrogatepass")
    return text.encode("cp1252" if dialect.encoding == "cp1252" else "utf-8", "surrogateescape")


MARKS = {"utf-8-sig": b"\xef\xbb\xbf", "utf-16": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}


def make_table(dialect, count, bad_places, rng):
    """A file; its good rows as (number, line, offset, value) and its bad ones as (number, line)."""
    content, line, good, bad = MARKS.get(dialect.encoding, b""), 1, [], []
    names = ("question", "answer") if dialect.has_header else ("column_1", "column_2")
    if dialect.has_header:
        content, line = content + encode(dialect, write_row(dialect, names)), 2
    for number in range(count):
        if number in bad_places:
            text = bad_line(dialect, rng)
            bad.append((number, line))
        else:
            cells = make_texts(dialect, rng)
            text = write_row(dialect, cells)
            good.append((number, line, len(content), dict(zip(names, cells, strict=True))))
        content += encode(dialect, text)
        line += len(text.encode("utf-8", "replace").splitlines())  # not at U+2028, as a text would
    return content, good, bad


def make_broken_table(seed, count):
    """The table of a seed, with two bad rows at random places."""
    rng, dialect = random.Random(seed), DIALECTS[seed % len(DIALECTS)]
    return dialect, *make_table(dialect, count, rng.sample(range(1, count), 2), rng)
