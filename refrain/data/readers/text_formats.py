"""Formats of text, in any encoding: JSON, JSON Lines, CSV and TSV."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from refrain.data.readers import delimited, json_document, json_lines, transcoding
from refrain.data.readers.json_lines import JsonLinesBlock
from refrain.data.readers.raw_rows import RowBlock
from refrain.pipeline.schema import SourceConfig

Block = JsonLinesBlock | RowBlock  # can be pickled; `rows()` gives its rows


DELIMITERS = {".csv": ",", ".tsv": "\t"}  # that the rows of a format usually have


READERS: dict[str, Callable[[Iterable[bytes], SourceConfig], Iterator[Block]]] = {
    ".json": lambda chunks, _: json_document.read_blocks(chunks),
    ".jsonl": lambda chunks, _: json_lines.read_blocks(chunks),
    ".ndjson": lambda chunks, _: json_lines.read_blocks(chunks),
    ".csv": lambda chunks, source: delimited.read_blocks(chunks, DELIMITERS[".csv"], source),
    ".tsv": lambda chunks, source: delimited.read_blocks(chunks, DELIMITERS[".tsv"], source),
}


def read_blocks(chunks: Iterator[bytes], suffix: str, source: SourceConfig) -> Iterator[Block]:
    """The rows of a text, with the offsets that they have in it."""
    chunks, encoding = find_encoding(chunks, source)
    if encoding == transcoding.UTF8:
        return READERS[suffix](chunks, source)
    text = transcoding.Transcoder(chunks, encoding)
    return text.restore_offsets(READERS[suffix](text.chunks(), source))


def describe(chunks: Iterator[bytes], suffix: str, source: SourceConfig) -> str:
    """How a text is read where that is found from what it holds, in words; else nothing."""
    chunks, encoding = find_encoding(chunks, source)
    words = [] if encoding == transcoding.UTF8 else [encoding.upper()]
    if suffix in DELIMITERS:
        text = chunks if encoding == transcoding.UTF8 else transcoding.Transcoder(chunks, encoding).chunks()
        words.insert(0, delimited.describe_format(text, DELIMITERS[suffix], source))
    return ", ".join(words)


def find_encoding(chunks: Iterator[bytes], source: SourceConfig) -> tuple[Iterator[bytes], str]:
    """The same chunks, and their encoding."""
    first = next(chunks, b"")
    return chain([first], chunks), transcoding.find_encoding(first[:4], source.encoding)
