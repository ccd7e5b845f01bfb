"""Text in any encoding, read as UTF-8; rows keep the offsets that they have in the file."""

import codecs
from collections import deque
from collections.abc import Iterable, Iterator

from refrain.data.readers.json_lines import JsonLinesBlock
from refrain.data.readers.raw_rows import BOM, NOT_UTF8, RawRow, RowBlock

UTF8 = "utf-8"


MARKS = {  # longest first: one of UTF-32 begins like one of UTF-16
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    BOM: UTF8,
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def find_encoding(head: bytes, declared: str | None) -> str:
    """The declared encoding, or what the first four bytes say: a mark, or where the zeros of Latin letters stand."""
    marked = next((encoding for mark, encoding in MARKS.items() if head.startswith(mark)), None)
    if declared is not None:
        name = codecs.lookup(declared).name
        if name in ("utf-16", "utf-32"):
            return marked or f"{name}-le"
        if marked not in (None, name.removesuffix("-sig")):
            raise ValueError(f"is {marked}, not {declared}, by its first bytes; take `encoding` out")
        return UTF8 if name == "utf-8-sig" else name
    zeros = tuple(byte == 0 for byte in head)
    return marked or ZEROS.get(zeros, UTF8)


ZEROS: dict[tuple[bool, ...], str] = {  # in the first four bytes
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
    (False, True, False, True): "utf-16-le",
    (True, False, True, False): "utf-16-be",
}


class Transcoder:
    """Chunks of a text as UTF-8; bytes that are none of its encoding become bytes that are no UTF-8 either."""

    def __init__(self, chunks: Iterable[bytes], encoding: str) -> None:
        self.source, self.encoding = chunks, encoding
        self.errors = "surrogatepass" if encoding.startswith("utf-") else "surrogateescape"
        self.pending = deque[bytes]()  # chunks that hold rows to come
        self.offset = self.source_offset = 0  # of the first pending byte, here and in the file

    def chunks(self) -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder(self.encoding)(self.errors)
        for chunk in self.source:
            if text := decoder.decode(chunk):
                yield self.to_utf8(text)
        try:
            tail = decoder.decode(b"", True)
        except UnicodeDecodeError:
            tail = "\udc00"  # half of a character
        if tail:
            yield self.to_utf8(tail)

    def to_utf8(self, text: str) -> bytes:
        self.pending.append(text.encode(UTF8, "surrogatepass"))
        return self.pending[-1]

    def restore_offsets(self, blocks: Iterable[JsonLinesBlock | RowBlock]) -> Iterator[RowBlock]:
        """The blocks that were read from the chunks, with the offsets of the file."""
        for block in blocks:
            yield RowBlock(tuple(map(self.restore_offset, block.rows())))

    def restore_offset(self, row: RawRow) -> RawRow:
        error = row.error.replace(NOT_UTF8, f"bytes that are not {self.encoding.upper()}")
        return row._replace(error=error, offset=self.find_offset(row.offset or 0))

    def find_offset(self, offset: int) -> int:
        """Where a row begins in the file; rows are asked for in their order."""
        while self.offset < offset:
            chunk = self.pending.popleft()
            passed, rest = chunk[: offset - self.offset], chunk[offset - self.offset :]
            if rest:
                self.pending.appendleft(rest)
            self.offset += len(passed)
            self.source_offset += len(passed.decode(UTF8, "surrogatepass").encode(self.encoding, self.errors))
        return self.source_offset
