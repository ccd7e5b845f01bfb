"""Files damaged at random: whatever the bytes, reading ends, nothing before the damage changes, no half row appears."""

import csv
import io
import json
import random
import time
from contextlib import suppress
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from raw_files import read

TEXTS = ["x", "é\u2028", "li\nne", '"q"', "NA", "{[,]}", "\U0001f600", "back\\slash", "a, b", "", "\r\n"]
VALUES = [{"a": TEXTS[number % len(TEXTS)] * (1 + number % 3), "b": str(number)} for number in range(40)]
BITS = [
    b'"',
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xf0\x9f",
    *[bytes([sign]) for sign in b"{}[],:\\\t"],
    b"NaN",
    b"\xef\xbb\xbf",
]
BITS += ["\u2028".encode(), b"[" * 20_000, b"1" * 5_000]


def table(delimiter, rows=VALUES, **options):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, **options)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def parquet():
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(VALUES), sink)
    return sink.getvalue().to_pybytes()


FILES = {
    "x.jsonl": b"\xef\xbb\xbf" + b"".join(json.dumps(v, ensure_ascii=False).encode() + b"\r\n" for v in VALUES),
    "line.json": json.dumps(VALUES).encode(),
    "array.json": b"\xef\xbb\xbf" + json.dumps(VALUES, ensure_ascii=False, indent=1).encode(),
    "envelope.json": json.dumps({"n": "1", "data": VALUES, "z": {"a": [1]}}, indent=1).encode(),
    "x.csv": b"\xef\xbb\xbf" + table(","),
    "x.tsv": table("\t", lineterminator="\n"),
    "x.parquet": parquet(),
}
TEXT = [name for name in FILES if name != "x.parquet"]


def damaged(content, rng):
    """The content with one thing wrong, and where."""
    at = rng.randrange(len(content))
    before, after = content[:at], content[at:]
    return at, rng.choice(
        [
            before + rng.choice(BITS) + after,
            before + bytes([rng.randrange(256)]) + after[1:],
            before + after[rng.choice([1, 1, 5, 60]) :],
            before + after[: rng.randrange(80)] + after,
            before,
        ]
    )


@pytest.mark.parametrize("name", FILES)
def test_damage_anywhere_spoils_no_row_before_it(tmp_path, name):
    clean, rng = read(tmp_path, name, FILES[name]), random.Random(name)
    assert [raw.value for raw in clean] == VALUES
    for _ in range(300):
        at, content = damaged(FILES[name], rng)
        try:
            raws = read(tmp_path, name, content)
        except ValueError as error:
            assert name in str(error)
            continue
        if name in TEXT:
            untouched = [raw for raw, later in pairwise(clean) if later.offset <= at]
            assert raws[: len(untouched)] == untouched


@pytest.mark.parametrize("name", TEXT)
def test_a_row_stands_where_its_offset_and_line_say(tmp_path, name):
    rng = random.Random(name)
    for content in (FILES[name], *(damaged(FILES[name], rng)[1] for _ in range(50))):
        try:
            raws = read(tmp_path, name, content)
        except ValueError:
            assert content != FILES[name]
            continue
        for raw in raws:
            rest = content[raw.offset :]
            if not raw.error:
                assert first_row(name, rest.decode("utf-8", "replace"), raw.value) == raw.value
            if name in ("x.jsonl", "line.json", "array.json", "envelope.json"):  # in tables \r ends a line too
                assert content[: raw.offset].count(b"\n") == raw.line - 1


def first_row(name, text, value):
    if name.endswith(("csv", "tsv")):
        cells = next(csv.reader(io.StringIO(text, newline=""), delimiter="," if "csv" in name else "\t"))
        return dict(zip(value, cells, strict=True))
    return json.JSONDecoder().raw_decode(text)[0]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize(
    "texts", [["x", "a, b", 'say "hi"', ""], ["x", "a, b", "two\nlines", "two\n\nlines, or\r\nmore", '"']]
)
def test_one_quote_too_many_or_too_few_makes_no_half_row_and_costs_little(tmp_path, quoting, texts):
    rng = random.Random(0)
    rows = [{name: rng.choice(texts) for name in "abc"} for _ in range(60)]
    content = table(",", rows, quoting=quoting)
    clean = read(tmp_path, "x.csv", content)
    assert [raw.value for raw in clean] == rows
    for at in sorted(rng.sample(range(clean[0].offset, len(content)), 150)):
        rest = content[at + 1 :] if content[at] == ord('"') else b'"' + content[at:]
        shift = len(content[:at] + rest) - len(content)
        raws = read(tmp_path, "x.csv", content[:at] + rest)
        whole = {(raw.offset + shift * (raw.offset > at), *raw.value.values()) for raw in clean}
        ends = [raw.offset for raw in raws[1:]] + [len(content) + shift]
        found = [(raw.offset, end, *raw.value.values()) for raw, end in zip(raws, ends, strict=True) if not raw.error]
        assert all((offset, *cells) in whole or offset <= at <= end for offset, end, *cells in found), at
        assert len(found) >= len(clean) - 8, at


@pytest.mark.heavy
@pytest.mark.parametrize(
    "line", ['b",a,"c', '"""a', 'x,"a', 'a,b"', '","', '"\n', '"x","y\n"1","2"', '1,"x' + "\n2,y" * 30]
)
def test_a_table_of_broken_quotes_is_read_in_time(tmp_path, line):
    start = time.process_time()
    read(tmp_path, "x.csv", "a,b\n" + f"{line}\n" * (8_000 // (1 + line.count("\n"))))
    assert time.process_time() - start < 4


@pytest.mark.heavy
@pytest.mark.parametrize("text", ["{x},", "[", "{", "}", '"', '"\\', "x,", '{"a": "x}, ', "{}\n", "\n"])
def test_an_array_of_broken_elements_is_read_in_time(tmp_path, text):
    start = time.process_time()
    for opening in ("[", "{}", '["' + "x" * 4_000_000 + '",'):
        with suppress(ValueError):
            read(tmp_path, "x.json", opening + text * (100_000 // len(text)))
    assert time.process_time() - start < 10
