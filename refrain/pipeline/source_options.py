"""What a source may say of its files, and of how they are written."""

import codecs
from collections.abc import Iterator

from refrain.pipeline.schema import SourceConfig


def source_problems(at: str, source: SourceConfig) -> Iterator[str]:
    """What names no files, or no split."""
    if not source.path and source.hub is None:
        yield f"{at}.path has no value yet; give one: a file, a folder, a pattern such as some/*.jsonl, or hub"
    if source.path and source.hub is not None:
        yield f"{at} has a path and a hub; give each a source of its own"
    if source.hub is not None and source.revision is None:
        yield f"{at}.hub needs a revision beside it: a commit, a tag or a branch such as main"
    if source.revision is not None and source.hub is None:
        yield f"{at}.revision is of a data set on the Hub; give hub in place of path, or take it away"
    if source.split not in (None, *SPLITS):
        where = source.path or source.hub
        yield f"data.sources: split={source.split} of {where} is none of {', '.join(SPLITS)} and null"
    yield from dialect_problems(at, source)


SPLITS = ("train", "val", "test", "random")


def dialect_problems(at: str, source: SourceConfig) -> Iterator[str]:
    """One sentence, with the way out, for each value that no file could be written in."""
    given = {"delimiter": delimiter_of(source), "quote": source.quote, "escape": source.escape}
    signs = [value for value in given.values() if value]
    for name, value in given.items():
        is_missing = value == "" and name == "delimiter"
        if is_missing or (value and (len(value) > 1 or value in ("\r", "\n", "\0"))):
            none = "" if name == "delimiter" else ', or "" for none'
            yield f"{at}.{name}={value!r} must be one sign, such as {EXAMPLES[name]}{none}"
    if len(set(signs)) < len(signs):
        yield f"{at}: delimiter, quote and escape must be different signs"
    if source.encoding is not None and not is_text_encoding(source.encoding):
        yield f"{at}.encoding={source.encoding} is none that is known; use one such as cp1252"
    file = source.path.lower().removesuffix(".gz").removesuffix(".zst")
    for name, others in (*((name, OTHER_FORMATS) for name in (*given, "header")), ("encoding", BINARY_FORMATS)):
        if getattr(source, name) is not None and file.endswith(others):
            yield f"{at}.{name} says nothing of a file such as {source.path}; take it out"


def delimiter_of(source: SourceConfig) -> str | None:
    """The delimiter that is given, a tab by its name too: on a command line there is none."""
    return "\t" if source.delimiter in ("\\t", "tab") else source.delimiter


BINARY_FORMATS = (".parquet", ".arrow", ".feather", ".xlsx")


OTHER_FORMATS = (".json", ".jsonl", ".ndjson", *BINARY_FORMATS)  # than CSV and TSV


EXAMPLES = {"delimiter": '";" or tab', "quote": '"\'"', "escape": '"\\\\"'}


def is_text_encoding(name: str) -> bool:
    """Whether text can be read in an encoding, chunk by chunk."""
    text = "\\x41\n"
    try:
        encoded_text = text.encode(name)
        has_one_width = len(encoded_text) - len("".encode(name)) in (len(text), 2 * len(text), 4 * len(text))
        decoder = codecs.getincrementaldecoder(name)("surrogateescape")
        return has_one_width and decoder.decode(encoded_text, True) == text  # else offsets would not be the file's
    except (LookupError, ValueError, TypeError):
        return False
