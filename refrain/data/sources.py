"""The files of the sources: of a folder, a pattern or an archive one by one, with the split that names declare."""

import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from refrain.data import split_names
from refrain.data.readers import files, folders, misnamed_files
from refrain.pipeline import paths
from refrain.pipeline.schema import DataConfig, SourceConfig

log = logging.getLogger(__name__)


RECORD = ".source.json"  # in a folder of links to files of the Hub


class SourceFile(NamedTuple):
    """A file of rows."""

    name: str  # below the folder of links; the ids of its rows begin with it
    path: Path
    config: SourceConfig  # how it is read


def list_files(data: DataConfig, linked: Path) -> list[SourceFile]:
    """The files of all sources, one source after the other, by their links in a folder."""
    groups = [list_source(data, index, linked) for index in range(len(data.sources))]
    for index in range(len(data.sources)):
        mention_others(data, index, linked)
    return [file for group in groups for file in declare_splits(group, splits_of_names(groups))]


def list_source(data: DataConfig, index: int, linked: Path) -> list[SourceFile]:
    """The files of a source; ValueError when there are none."""
    source = data.sources[index]
    link = linked / link_name(data, index, linked)
    if link.is_file() and not (files.can_read(link.name) or files.is_archive(link.name)):
        raise ValueError(misnamed_files.explain_unknown_format(link, source.path))
    found = {path.relative_to(link).as_posix(): path for path in folders.list_paths(link)}
    pattern = pattern_below(data, index, linked)
    names = [name for name in found if folders.matches(name, pattern) and is_chosen(name, source)]
    if not names:
        wish = f" that files={source.files} names" if source.files else ""
        others = f"there is {', '.join([*found][:5])}" if found else "none has a known format"
        raise ValueError(f"data.sources[{index}]: there is no file{wish} in {source.hub or source.path}; {others}")
    if source.sheet is not None and not any(map(is_workbook, (found[name].name for name in names))):
        raise ValueError(f"data.sources[{index}]: sheet={source.sheet}, but {source.hub or source.path} is no .xlsx; "
                         "take `sheet` away")  # fmt: skip
    return [source_file(found[name], name, source, linked) for name in names]


@contextmanager
def named_by_person(data: DataConfig, linked: Path) -> Iterator[None]:
    """Errors that speak of a file as a person named it, not of the link to it."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        for index, source in enumerate(data.sources):
            link = re.escape(str(linked / link_name(data, index, linked)))
            text = (source.hub or source.path).join(re.split(f"{link}(?![^/:])", text))
        raise ValueError(text) from error


def mention_others(data: DataConfig, index: int, linked: Path) -> None:
    """Say which files that a source names are passed over."""
    source, link = data.sources[index], linked / link_name(data, index, linked)
    pattern = pattern_below(data, index, linked)
    others = [name for name in folders.list_others(link) if folders.matches(name, pattern) and is_chosen(name, source)]
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        log.info("%s: not read, for they have no known format: %s%s", link.name, ", ".join(others[:3]), more)


def is_chosen(name: str, source: SourceConfig) -> bool:
    """Whether `files` of a source, a pattern or a split, names a file; a pattern without folders stands for any."""
    if source.files is None:
        return True
    if source.files in split_names.SPLIT_NAMES:
        return split_names.split_of(name) == split_names.SPLIT_NAMES[source.files]
    return folders.matches(name, source.files if "/" in source.files else f"**/{source.files}")


def source_file(path: Path, name: str, source: SourceConfig, linked: Path) -> SourceFile:
    """A file of a source, called as a person would look for it."""
    where = source.path if name == "." else f"{source.hub or source.path}: {name}"
    place = path / source.sheet if source.sheet is not None and is_workbook(path.name) else path
    return SourceFile(path.relative_to(linked).as_posix(), place, replace(source, path=where))


def is_workbook(name: str) -> bool:
    """Whether a file of this name has sheets."""
    return name.lower().endswith(".xlsx")


def link_name(data: DataConfig, index: int, linked: Path) -> str:
    """What the link to a source is called: by its file or folder, or by the folder in which a pattern begins."""
    source = data.sources[index]
    if source.hub is not None:
        return paths.linked_source(index, source.hub).name
    if is_pattern(data, index, linked):
        place = PurePosixPath(data.folder, folders.split_pattern(source.path)[0])
        return paths.linked_source(index, place.name or "files").name
    return paths.linked_source(index, source.path).name


def pattern_below(data: DataConfig, index: int, linked: Path) -> str:
    """The pattern of a source below its link, which any file matches if its path is none."""
    return folders.split_pattern(data.sources[index].path)[1] if is_pattern(data, index, linked) else "**"


def is_pattern(data: DataConfig, index: int, linked: Path) -> bool:
    """Whether a path is a pattern, and no file that happens to be called so."""
    source = data.sources[index]
    literal = linked / paths.linked_source(index, source.path).name
    return source.hub is None and folders.has_pattern(source.path) and not literal.exists()


def write_record(link: Path, record: dict[str, str]) -> None:
    """Keep beside the links to the files of a data set which commit of the Hub they are."""
    (link / RECORD).write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def record_commits(linked: Path, prepared: Path) -> dict[str, dict[str, dict[str, str]]]:
    """The commits of the sources that are of the Hub, for the report; they stand beside the prepared rows too."""
    files = sorted(linked.glob(f"*/{RECORD}"))
    commits = {file.parent.name: json.loads(file.read_text(encoding="utf-8")) for file in files}
    if not commits:
        return {}
    (prepared / paths.COMMITS).write_text(json.dumps(commits, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return {"commits": commits}


def splits_of_names(groups: list[list[SourceFile]]) -> dict[str, str]:
    """The splits that the names of files say, by name; none where all say train, for that leaves nothing to test with.

    A file that is a source of its own counts only where all such are called train, test or the like, and have no
    `split` beside their paths.
    """
    splits = {file.name: split for group in groups for file in group if (split := split_of_file(file))}
    alone = [file for group in groups for file in group if is_source(file)]
    names_alone = {splits.get(file.name) for file in alone}
    if "train" not in splits.values() or None in names_alone or any(file.config.split for file in alone):
        splits = {name: split for name, split in splits.items() if name not in {file.name for file in alone}}
    return {} if set(splits.values()) == {"train"} else splits


def is_source(file: SourceFile) -> bool:
    """Whether a file is a source by itself, not one of a folder or an archive."""
    return "/" not in file.name


def split_of_file(file: SourceFile) -> str | None:
    """The split that the name of a file says, or that of its folder below the source."""
    place, _, below = file.name.partition("/")
    if below:
        return split_names.split_of(below)
    own = place.partition("-")[2]
    return split_names.split_of(own) if split_names.is_split(own) else None


def declare_splits(group: list[SourceFile], splits: dict[str, str]) -> list[SourceFile]:
    """The files of a source with the splits that their names say, unless a person has said one; that is logged."""
    has_said = group[0].config.split is not None or "split" in group[0].config.fields
    if has_said or not any(file.name in splits for file in group):
        return group
    places = defaultdict[str, list[str]](list)
    for file in group:
        places[splits.get(file.name, "any split, by the fractions")].append(file.name)
    log.info("%s; `split: random` beside the path draws all rows by the fractions", describe_splits(places))
    return [file._replace(config=replace(file.config, split=splits.get(file.name))) for file in group]


def describe_splits(places: dict[str, list[str]]) -> str:
    """Where the files of a source go, the first of each kind by name."""
    parts = []
    for place, names in places.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        parts.append(f"{names[0]}{more} to {place}")
    return f"by the names of the files: {', '.join(parts)}"
