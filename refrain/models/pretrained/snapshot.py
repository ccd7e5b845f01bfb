"""A folder of published weights that may be trusted: what is taken of it, checked, then copied."""

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from refrain.chat import templates
from refrain.models.pretrained import translation
from refrain.pipeline import front_matter, manifest, paths

log = logging.getLogger(__name__)


CONFIG = "config.json"
ADAPTER = "adapter_config.json"
TOKENIZER = "tokenizer.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SETTINGS = (CONFIG, "generation_config.json", "tokenizer_config.json")
VOCABULARY = (TOKENIZER, "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt")
SENTENCEPIECE = ("tokenizer.model", "spiece.model")
TEMPLATES = ("chat_template.jinja", "chat_template.json", f"{templates.FURTHER_TEMPLATES}/*.jinja")
SMALL = (*SETTINGS, *VOCABULARY, *SENTENCEPIECE, *TEMPLATES, *front_matter.TERMS, front_matter.CARD)
QUANTIZED = ("*.gguf", "*.ggml")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
# What these keys name is run while a model loads; the last two are one setting (CVE-2026-4372).
CODE = {"auto_map", "_attn_implementation", "_attn_implementation_internal"}


def copy_from_folder(folder: Path, out: Path) -> None:
    """`out` holds the same files of a local folder, and source.json its name but not where it was."""
    if out.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise ValueError(f"model.folder: {folder} lies in {out}, which is emptied first; move it elsewhere")
    paths.make_empty(out)
    write_snapshot(folder, hash_files(folder, check_folder(folder)), out, {"folder": folder.absolute().name})


def check_folder(folder: Path) -> list[str]:
    """The files of a folder: loading them runs no code of its own and finds whole weights and a fast tokenizer."""
    if not folder.is_dir():
        raise ValueError(f"model.folder: {folder} is not a folder; give one that save_pretrained wrote")

    return check_files(folder, list_names(folder), str(folder), lambda names: require_inside(folder, names))


def require_inside(folder: Path, names: list[str]) -> None:
    """ValueError for a link out of the folder; a snapshot in the Hub's cache has its files in blobs beside it."""
    places = [folder.resolve()]
    if folder.resolve().parent.name == "snapshots":
        places.append(folder.resolve().parents[1] / "blobs")
    for name in names:
        if not any((folder / name).resolve().is_relative_to(place) for place in places):
            raise ValueError(f"{folder}: {name} is a link to outside; put the file itself in its place")


def check_files(folder: Path, names: list[str], where: str, bring: Callable[[list[str]], None]) -> list[str]:
    """The files to take, each checked as soon as it can be: names first, settings next, weights last."""
    small = select_small_files(names, where)
    bring(small)
    for name in small:
        if name in SETTINGS:
            refuse_code(folder / name, where)
    weights = select_weight_files(folder, names, where)
    from refrain.models.pretrained.preflight import obstacles  # it loads torch, after all that needs none was checked

    obstacles.require_none(obstacles.find_settings_obstacles(folder), where)
    bring(weights)
    for name in weights:
        check_safetensors(folder / name, where)
    obstacles.require_none(obstacles.find_weight_obstacles(folder), where)
    return [*small, *weights]


def list_names(folder: Path) -> list[str]:
    inside = (*folder.iterdir(), *(folder / templates.FURTHER_TEMPLATES).glob("*"))
    return [path.relative_to(folder).as_posix() for path in inside if path.is_file()]


def select_small_files(names: list[str], where: str) -> list[str]:
    """The files beside the weights, of a list of names that can be a model."""
    if ADAPTER in names:
        raise ValueError(f"{where}: {ADAPTER} is of an adapter, not of a model; merge it into its base and save that")
    if CONFIG not in names:
        raise ValueError(f"{where}: {CONFIG} is missing; choose a model in the format of transformers")
    if WEIGHTS not in names and INDEX not in names:
        pickles, quantized = match_names(names, PICKLES), match_names(names, QUANTIZED)
        why = (
            f"only the pickle {pickles[0]}, which can run code"
            if pickles
            else f"only {quantized[0]}, which cannot be trained"
            if quantized
            else "no weights"
        )
        raise ValueError(f"{where}: {why}; choose a model or revision with {WEIGHTS} or {INDEX}")
    if TOKENIZER not in names:
        raise ValueError(
            f"{where}: {TOKENIZER} is missing, a fast tokenizer is needed; write one with "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...) and use model=folder"
        )
    return match_names(names, SMALL if WEIGHTS in names else (*SMALL, INDEX))


def match_names(names: list[str], patterns: tuple[str, ...]) -> list[str]:
    return sorted(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))


def select_weight_files(folder: Path, names: list[str], where: str) -> list[str]:
    """What transformers loads: the one file or else the shards of the index."""
    if WEIGHTS in names:
        return [WEIGHTS]
    shards = read_json(folder / INDEX, where).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ValueError(f"{where}: {INDEX} has no weight_map; write the model again with save_pretrained")
    for shard in shards.values():
        if shard not in match_names(names, ("*.safetensors",)):
            raise ValueError(
                f"{where}: {INDEX} names {shard!r} in weight_map, which is not beside it; complete the files"
            )
    return sorted(set(shards.values()))


def refuse_code(path: Path, where: str) -> None:
    for key in iterate_keys(read_json(path, where)):
        if key in CODE:
            raise ValueError(
                f"{where}: {path.name} has {key}, which names code to run; choose another model, or take it "
                "out of a copy and use model=folder"
            )


def read_json(path: Path, where: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: {path.name} is not JSON ({error}); repair it or fetch it again") from error
    if not isinstance(value, dict):
        raise ValueError(f"{where}: {path.name} is not a JSON object; repair it or fetch it again")
    return value


def iterate_keys(value: Any) -> Iterator[str]:
    """Every key at every depth that has a value."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case dict() as section:
                yield from (key for key, inner in section.items() if inner is not None)
                waiting.extend(section.values())
            case list() as items:
                waiting.extend(items)


def check_safetensors(path: Path, where: str) -> None:
    from safetensors import SafetensorError, safe_open  # of the extra train: names and sizes are looked at without it

    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise ValueError(f"{where}: {path.name} is cut short or not safetensors; fetch it again") from error


def hash_files(folder: Path, names: list[str]) -> dict[str, str]:
    return {name: manifest.file_sha256(folder / name) for name in names}


def write_snapshot(folder: Path, hashes: dict[str, str], out: Path, source: dict[str, Any]) -> None:
    """`out` holds copies of the files, and in source.json their hashes with what else is known of them."""
    for name in hashes:
        (out / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(folder / name, out / name)
    if translation.translate_file(out / CONFIG):
        source = {**source, "translated": CONFIG}
        log.info("%s was translated for the transformers used here", CONFIG)
    text = json.dumps({**source, "files": hashes}, indent=2, sort_keys=True)
    (out / "source.json").write_text(text + "\n", encoding="utf-8")
    log.info("%d files from %s", len(hashes), " ".join(source.values()))
