"""Parquet and Arrow as raw rows: a value that Python cannot hold costs its row alone."""

from collections.abc import Iterable, Iterator
from typing import IO, Any

from refrain.data.readers.raw_rows import CHUNK_BYTES, RawRow, RowBlock

BATCH_ROWS = 100  # rows of a block, each perhaps of a megabyte


ARROW_FILE, OLD_FEATHER = b"ARROW1", b"FEA1"  # how they begin; a stream of Arrow begins otherwise


def read_parquet(file: IO[bytes]) -> Iterator[RowBlock]:
    """The rows of a file that is read where they are wanted."""
    from pyarrow import ArrowException  # slow to import, needed by these formats only
    from pyarrow.parquet import ParquetFile

    try:
        content = ParquetFile(file, buffer_size=CHUNK_BYTES, pre_buffer=False, page_checksum_verification=True)
        check_names(content.schema_arrow.names)
        number = 1
        for batch in content.iter_batches(BATCH_ROWS):
            yield RowBlock(tuple(number_rows(batch, number)))
            number += len(batch)
    except ArrowException as error:
        raise ValueError(f"not Parquet: {' '.join(str(error).split())}") from error


def read_arrow(file: IO[bytes]) -> Iterator[RowBlock]:
    """The rows of a file or stream of Arrow, which Feather is too; of a damaged batch no row can be read."""
    from pyarrow import ArrowException

    head = file.read(len(ARROW_FILE))
    file.seek(0)
    if head.startswith(OLD_FEATHER):
        raise ValueError("Feather of version 1, which nobody writes any more; read it with pandas and write Parquet")
    number = 1
    try:
        for batch in record_batches(file, is_stream=head != ARROW_FILE):
            damage = find_damage(batch)
            for start in range(0, len(batch), BATCH_ROWS):
                part = batch.slice(start, BATCH_ROWS)
                lines = range(number + start, number + start + len(part))
                rows = (RawRow(line, error=damage) for line in lines) if damage else number_rows(part, lines[0])
                yield RowBlock(tuple(rows))
            number += len(batch)
    except (ArrowException, OSError, MemoryError) as error:  # what is broken may claim any size
        reason = " ".join(str(error).split()) or "it claims more than fits into memory"
        raise ValueError(f"not Arrow, or cut short: {reason}") from error


def record_batches(file: IO[bytes], is_stream: bool) -> Iterable[Any]:
    """The batches as they were written."""
    from pyarrow import ipc

    reader = ipc.open_stream(file) if is_stream else ipc.open_file(file)
    check_names(reader.schema.names)
    return reader if is_stream else map(reader.get_batch, range(reader.num_record_batches))


def find_damage(batch: Any) -> str:
    """Why no value of a batch may be touched, or nothing: Arrow is used as it lies in the file, wherever it points.

    Text that is not UTF-8 costs its row alone; among nested values it may hide worse.
    """
    from pyarrow import ArrowInvalid, types

    for column in batch.columns:
        try:
            column.validate(full=True)
        except ArrowInvalid as error:
            is_text = types.is_string(column.type) or types.is_large_string(column.type)
            if not (is_text and "UTF8" in str(error)):
                return f"its record batch is damaged: {' '.join(str(error).split())}"
    return ""


def check_names(names: list[str]) -> None:
    """ValueError when two columns have one name."""
    if len(set(names)) < len(names):
        raise ValueError("the schema holds a name twice; correct it")


def number_rows(batch: Any, number: int) -> Iterator[RawRow]:
    """The rows of a batch; one that Python cannot hold, such as text that is not UTF-8, spoils no other."""
    try:
        yield from [RawRow(number + nth, value) for nth, value in enumerate(batch.to_pylist())]
    except (ValueError, OverflowError) as error:
        if len(batch) == 1:
            yield RawRow(number, error=f"a value that cannot be read: {error}")
        else:
            for nth in range(len(batch)):
                yield from number_rows(batch.slice(nth, 1), number + nth)
