"""Links to the files that the pipeline reads from anywhere, in one place, so that DVC sees their content."""

import os
import shlex
from pathlib import Path

from refrain.data import data_cards, sources
from refrain.data.readers import folders
from refrain.pipeline import front_matter, paths
from refrain.pipeline.paths import locate
from refrain.pipeline.schema import DataConfig, ModelConfig, SourceConfig

UNUSED = "unused"  # a file in each folder that no source needs: DVC does not see an empty one, nor that it is missing


def link_inputs(data: DataConfig, model: ModelConfig) -> None:
    """Rebuild data/linked and models/linked: links to whatever prepare and base read."""
    link_data(data)
    paths.make_empty(paths.LINKED_MODEL)
    if model.tiny is not None and model.tiny.corpus is not None:
        corpus = locate(model.tiny.corpus, "model.tiny.corpus")
        link_to(paths.LINKED_MODEL / "corpus.txt", corpus)
        link_card(paths.LINKED_DATA, paths.CORPUS_CARD, corpus)
    if model.tiny is not None and model.tiny.corpus is None:
        link_rows(data)
    if model.folder is not None:
        for file in sorted(locate(model.folder, "model.folder", folder=True).iterdir()):
            link_to(paths.LINKED_MODEL / file.name, file.resolve())


def link_data(data: DataConfig) -> None:
    """Rebuild data/linked; ValueError when a source names nothing that can be read, or that DVC can watch."""
    paths.make_empty(paths.LINKED_DATA)
    link_sources(data, paths.LINKED_DATA)
    watch_folders(paths.LINKED_DATA)
    for link in [link for link in sorted(paths.LINKED_DATA.iterdir()) if link.is_symlink()]:
        link_card(paths.LINKED_DATA, link.name, link.resolve())
    with sources.named_by_person(data, paths.LINKED_DATA):
        for index in range(len(data.sources)):
            sources.list_source(data, index, paths.LINKED_DATA)


def link_rows(data: DataConfig) -> None:
    """Link once more, file by file, the rows that a base is made from, so that DVC makes it anew when one is edited."""
    from refrain.data import training_texts  # loads all that prepares rows

    folder = paths.LINKED_MODEL / "rows"
    folder.mkdir()
    others = (paths.watched_folder(0).parent.name, paths.CARDS)
    for link in [link for link in sorted(paths.LINKED_DATA.iterdir()) if link.name not in others]:
        for name in training_texts.list_linked(link) or ["."]:
            place = folder / link.name / name
            place.parent.mkdir(parents=True, exist_ok=True)
            link_to(place, (link / name).resolve())
    training_texts.write_settings(data, folder)


def link_sources(data: DataConfig, linked: Path) -> None:
    """A link in this folder for each file or folder that data.sources names; ValueError when one names none."""
    for index, source in enumerate(data.sources):
        if source.hub is None:
            link_source(data, index, linked)
        else:
            from refrain.experiments.hub_data import link_dataset  # slow to import, needed by these sources only

            link_dataset(source, linked / sources.link_name(data, index, linked), f"data.sources[{index}]")


def link_source(data: DataConfig, index: int, linked: Path) -> None:
    """A link to the file or folder that the path of a source names, or to the folder in which its pattern begins."""
    source = data.sources[index]
    path, key = join_folder(data, source.path), f"data.sources[{index}].path"
    if place := paths.find_place(path):
        link_to(linked / paths.linked_source(index, source.path).name, place)
    elif folders.has_pattern(source.path):
        place = locate(join_folder(data, folders.split_pattern(source.path)[0]), key, folder=True)
        link_to(linked / sources.link_name(data, index, linked), place)
    else:
        raise ValueError(f"{key}: there is no file {path}; {where_it_comes_from(source, path)}")


def where_it_comes_from(source: SourceConfig, path: str) -> str:
    """How a file is fetched that is not here, if its source says that."""
    if source.url is None:
        return "correct the path"
    command = shlex.join(["curl", "-fL", "--create-dirs", "-o", path, source.url])
    return f"fetch it where it is published: `{command}`"


def join_folder(data: DataConfig, path: str) -> str:
    """A path of a source, from where relative ones begin."""
    return str(Path(data.folder, Path(path).expanduser()))


def link_card(linked: Path, name: str, place: Path) -> None:
    """A link to the card in the folder that a source is, or in which its file is, where there is one."""
    card = (place if place.is_dir() else place.parent) / front_matter.CARD
    if card.is_file():
        link = data_cards.card_of(linked, name)
        link.parent.mkdir(parents=True, exist_ok=True)
        link_to(link, card)


def watch_folders(linked: Path) -> None:
    """Link the folders once more, to where dvc.yaml lists each; ValueError for one that DVC cannot watch."""
    places = [link for link in sorted(linked.iterdir()) if link.is_symlink() and link.is_dir()]
    if len(places) > paths.WATCHED_FOLDERS:
        raise ValueError(f"data.sources names {len(places)} folders and patterns, of which DVC can watch "
                         f"{paths.WATCHED_FOLDERS}; name a folder that holds several of them")  # fmt: skip
    for number in range(paths.WATCHED_FOLDERS):
        watched = paths.watched_folder(number)
        if number < len(places):
            refuse_unwatchable(places[number].resolve())
            watched.parent.mkdir(exist_ok=True)
            link_to(watched, places[number].resolve())
        else:
            watched.mkdir(parents=True)
            (watched / UNUSED).touch()


def refuse_unwatchable(folder: Path) -> None:
    """ValueError for a folder that stages write into, or whose files DVC would not hash."""
    if paths.LINKED_DATA.resolve().is_relative_to(folder):
        raise ValueError(f"data.sources: {folder} holds what this pipeline writes; move the files to a folder of their "
                         "own, such as data/external, or name each")  # fmt: skip
    for place, names, file_names in os.walk(folder):
        if ".dvc" in names or ".dvcignore" in file_names:
            raise ValueError(f"data.sources: {place} belongs to another repository of DVC, which would not be watched; "
                             "copy the files to a folder of their own, or name each")  # fmt: skip


def link_to(link: Path, file: Path) -> None:
    """Link to a file; relative within the repository, so that one that was copied does not read the other's data."""
    is_inside = all(path.is_relative_to(Path.cwd()) for path in (file, link.absolute()))
    link.symlink_to(os.path.relpath(file, link.parent) if is_inside else file)
