"""A file written as bytes or text, and read back as raw rows."""

from refrain.data.readers import files
from refrain.pipeline.schema import SourceConfig


def read(folder, name, content, **source):
    """Write the content under a name into the folder and read it back."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(files.read_rows(path, SourceConfig(str(path), **source)))


def good(raws):
    return [(raw.line, raw.value) for raw in raws if not raw.error]


def bad(raws):
    return [raw.line for raw in raws if raw.error]
