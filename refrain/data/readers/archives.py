"""Archives: the bytes behind .gz and .zst, and the members of a ZIP, of which none touches the disk under its name."""

import gzip
import stat
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import IO, cast
from zipfile import BadZipFile, ZipFile, ZipInfo

ENDINGS = (".gz", ".zst")


MAX_UNPACKED = 100 << 20  # bytes that anything may unpack to


MAX_RATIO = 200  # of the packed size that more may unpack to; text of people stays below 20


def refuse_bomb(packed_size: int, unpacked_size: int) -> None:
    """ValueError when something unpacks to more than any text of people does."""
    if unpacked_size > max(MAX_UNPACKED, MAX_RATIO * packed_size):
        raise ValueError(f"unpacks to over {MAX_RATIO} times its size; if it is no bomb, unpack it yourself")


def is_packed(name: str) -> bool:
    """Whether a file of this name is one file, packed."""
    return name.lower().endswith(ENDINGS)


def content_name(name: str) -> str:
    """The name, in lower case, of what is packed in a file of this name."""
    name = name.lower()
    return next((name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending)), name)


def unpack(file: IO[bytes], name: str) -> IO[bytes]:
    """The unpacked bytes of a file that its name says is packed; else the file itself."""
    if name.lower().endswith(".gz"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if name.lower().endswith(".zst"):
        from pyarrow import CompressedInputStream  # slow to import, needed by this format only

        return cast(IO[bytes], CompressedInputStream(file, "zstd"))
    return file


def open_member(file: IO[bytes], name: str, is_wanted: Callable[[str], bool]) -> tuple[str, IO[bytes], int]:
    """A member of a ZIP, or the only wanted one: its name without folders, its bytes and its packed size."""
    archive = open_zip(file)
    names = list_members(archive)
    wanted = [name] if name else [each for each in names if is_wanted(each)]
    if len(wanted) != 1 or wanted[0] not in names:
        raise ValueError(f"it holds {', '.join(names) or 'no file'}; name one of them behind the path of the archive")
    info = archive.getinfo(wanted[0])
    try:
        return PurePosixPath(info.filename).name, archive.open(info), info.compress_size
    except NotImplementedError as error:
        raise ValueError(f"its member {info.filename} is packed in a way that Python does not know ({error}); "
                         "pack it again with deflate") from error  # fmt: skip


def open_zip(file: IO[bytes]) -> ZipFile:
    """The directory of a ZIP; OSError when there is none."""
    try:
        return ZipFile(file)
    except (BadZipFile, NotImplementedError) as error:
        raise OSError(f"not a ZIP, or cut short ({error})") from error


def list_members(archive: ZipFile) -> list[str]:
    """The files in a ZIP, sorted, but for hidden ones; ValueError when one of them cannot be trusted or read."""
    members = [info for info in archive.infolist() if not info.is_dir()]
    names = [info.filename for info in members]
    for info in members:
        if problem := member_problem(info, names):
            raise ValueError(f"its member {info.orig_filename!r} {problem}")
    return sorted(name for name in names if not any(map(is_hidden, PurePosixPath(name).parts)))


def is_hidden(name: str) -> bool:
    """Whether a file or folder belongs to a system or a tool, and is none of people's data."""
    return name.startswith((".", "__"))


def member_problem(info: ZipInfo, names: list[str]) -> str:
    """Why a member of a ZIP is not read, and the way out; or nothing."""
    name = info.orig_filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or name[1:2] == ":":
        return "leads out of the archive; pack the files again, with relative names"
    if info.flag_bits & 0x1:
        return "is encrypted; unpack it with its password and name the files"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a link; pack the file itself in its place"
    if names.count(info.filename) > 1:
        return "is there twice; pack the files again, each once"
    return ""
