"""Parquet as raw rows: a value that Python cannot hold costs its row alone."""

from collections.abc import Iterator
from typing import IO, Any

from refrain.data.readers.raw_rows import CHUNK_BYTES, RawRow, RowBlock

BATCH_ROWS = 100  # rows of Parquet, each perhaps of a megabyte


def read_parquet(file: IO[bytes]) -> Iterator[RowBlock]:
    """The rows of a file that is read where they are wanted."""
    from pyarrow import ArrowException  # slow to import, needed by this format only
    from pyarrow.parquet import ParquetFile

    try:
        content = ParquetFile(file, buffer_size=CHUNK_BYTES, pre_buffer=False, page_checksum_verification=True)
        if len(set(content.schema_arrow.names)) < len(content.schema_arrow.names):
            raise ValueError("the schema holds a name twice; correct it")
        number = 1
        for batch in content.iter_batches(BATCH_ROWS):
            yield RowBlock(tuple(number_rows(batch, number)))
            number += len(batch)
    except ArrowException as error:
        raise ValueError(f"not Parquet: {' '.join(str(error).split())}") from error


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
