"""A folder of published weights that may be trusted: from the Hub or a local folder, checked, then copied."""

import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, errors, hf_hub_download, snapshot_download
from huggingface_hub.utils.tqdm import disable_progress_bars
from safetensors import SafetensorError, safe_open

log = logging.getLogger(__name__)

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SETTINGS = (CONFIG, "generation_config.json", "tokenizer_config.json")
VOCABULARY = (TOKENIZER, "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt")
SENTENCEPIECE = ("tokenizer.model", "spiece.model")
SMALL = (*SETTINGS, *VOCABULARY, *SENTENCEPIECE, "chat_template.jinja", "chat_template.json", "LICENSE*")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
# What these keys name is run while a model loads; the last two are one setting (CVE-2026-4372).
CODE = {"auto_map", "_attn_implementation", "_attn_implementation_internal"}


def from_hub(repository: str, revision: str, out: Path) -> None:
    """`out` holds one checked commit, named in source.json; weights are fetched when all else has passed."""
    _empty(out)
    where = f"{repository}@{revision}" + (" in the cache" if constants.HF_HUB_OFFLINE else "")
    if not sys.stderr.isatty():
        disable_progress_bars()
    with _client_errors(where):
        # By the revision, not by its commit: so the cache learns what the revision is and can answer offline.
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=CONFIG))
        commit = folder.name

        def fetch(names: list[str]) -> None:
            for name in names:
                hf_hub_download(repository, name, revision=commit)

        hashes = _hashes(folder, _files(folder, _published(repository, folder), where, fetch))
    _unchanged(folder, hashes, where)
    _write(folder, hashes, out, {"hub": repository, "revision": revision, "commit": commit})


def from_folder(folder: Path, out: Path) -> None:
    """`out` holds the same files of a local folder, and source.json its name but not where it was."""
    if out.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise ValueError(f"model.folder: {folder} lies in {out}, which is emptied first; move it elsewhere")
    _empty(out)
    hashes = _hashes(folder, _local(folder))
    _write(folder, hashes, out, {"folder": folder.absolute().name})


def check(folder: Path) -> None:
    """Loading the folder runs no code of its own and finds whole weights and a fast tokenizer."""
    _local(folder)


def _local(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise ValueError(f"model.folder: {folder} is not a folder; give one that save_pretrained wrote")

    def inside(names: list[str]) -> None:
        for name in names:
            if not (folder / name).resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{folder}: {name} is a link to outside; put the file itself in its place")

    return _files(folder, _names(folder), str(folder), inside)


def _files(folder: Path, names: list[str], where: str, bring: Callable[[list[str]], None]) -> list[str]:
    """The files to take, each checked as soon as it can be: names first, settings next, weights last."""
    small = _small(names, where)
    bring(small)
    for name in small:
        if name in SETTINGS:
            _no_code(folder / name, where)
    weights = _weights(folder, names, where)
    bring(weights)
    for name in weights:
        _whole(folder / name, where)
    return [*small, *weights]


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_file()]


def _published(repository: str, folder: Path) -> list[str]:
    """What the Hub lists for the commit; offline, what the cache has of it."""
    if constants.HF_HUB_OFFLINE:
        return _names(folder)
    siblings = HfApi().model_info(repository, revision=folder.name).siblings or []
    return [file.rfilename for file in siblings if "/" not in file.rfilename]


def _small(names: list[str], where: str) -> list[str]:
    """The files beside the weights, of a list of names that can be a model."""
    if CONFIG not in names:
        raise ValueError(f"{where}: {CONFIG} is missing; choose a model in the format of transformers")
    if WEIGHTS not in names and INDEX not in names:
        pickles = _matching(names, PICKLES)
        why = f"only the pickle {pickles[0]}, which can run code" if pickles else "no weights"
        raise ValueError(f"{where}: {why}; choose a model or revision with {WEIGHTS} or {INDEX}")
    if TOKENIZER not in names:
        raise ValueError(
            f"{where}: {TOKENIZER} is missing, a fast tokenizer is needed; write one with "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...) and use model=folder"
        )
    return _matching(names, SMALL if WEIGHTS in names else (*SMALL, INDEX))


def _matching(names: list[str], patterns: tuple[str, ...]) -> list[str]:
    return sorted(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))


def _weights(folder: Path, names: list[str], where: str) -> list[str]:
    """What transformers loads: the one file or else the shards of the index."""
    if WEIGHTS in names:
        return [WEIGHTS]
    shards = _json(folder / INDEX, where).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ValueError(f"{where}: {INDEX} has no weight_map; write the model again with save_pretrained")
    for shard in shards.values():
        if shard not in _matching(names, ("*.safetensors",)):
            raise ValueError(
                f"{where}: {INDEX} names {shard!r} in weight_map, which is not beside it; complete the files"
            )
    return sorted(set(shards.values()))


def _no_code(path: Path, where: str) -> None:
    for key in _keys(_json(path, where)):
        if key in CODE:
            raise ValueError(
                f"{where}: {path.name} has {key}, which names code to run; choose another model, or take it "
                "out of a copy and use model=folder"
            )


def _json(path: Path, where: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: {path.name} is not JSON; repair it or fetch it again") from error
    if not isinstance(value, dict):
        raise ValueError(f"{where}: {path.name} is not a JSON object; repair it or fetch it again")
    return value


def _keys(value: Any) -> Iterator[str]:
    """Every key at every depth."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case dict() as section:
                yield from section
                waiting.extend(section.values())
            case list() as items:
                waiting.extend(items)


def _whole(path: Path, where: str) -> None:
    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise ValueError(f"{where}: {path.name} is cut short or not safetensors; fetch it again") from error


def _hashes(folder: Path, names: list[str]) -> dict[str, str]:
    return {name: _sha256(folder / name) for name in names}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unchanged(folder: Path, hashes: dict[str, str], where: str) -> None:
    """The cache keeps a large file under its published sha256, and a small one under a shorter name."""
    for name, found in hashes.items():
        published = (folder / name).resolve()
        if len(published.name) == len(found) and published.name != found:
            raise ValueError(f"{where}: {name} is not what was published; delete {published} and run again")


def _empty(out: Path) -> None:
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)


def _write(folder: Path, hashes: dict[str, str], out: Path, source: dict[str, Any]) -> None:
    for name in hashes:
        shutil.copyfile(folder / name, out / name)
    text = json.dumps({**source, "files": hashes}, indent=2, sort_keys=True)
    (out / "source.json").write_text(text + "\n", encoding="utf-8")
    log.info("%d files from %s", len(hashes), " ".join(source.values()))


@contextmanager
def _client_errors(where: str) -> Iterator[None]:
    """The client's many errors as one sentence each; those of the local disk pass."""
    try:
        yield
    except (OSError, errors.HFValidationError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{where}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    match error:
        case errors.LocalEntryNotFoundError(__cause__=BaseException() as cause):
            return _reason(cause)
        case errors.OfflineModeIsEnabled():
            return "not found; unset HF_HUB_OFFLINE once to fetch it, or use model=folder"
        case errors.HFValidationError():
            return "not the name of a repository; write model.hub as owner/name"
        case errors.GatedRepoError():
            return "the repository is gated; ask for access on its page and set HF_TOKEN"
        case errors.RepositoryNotFoundError():
            return "no such repository, or a private one; check model.hub or set HF_TOKEN"
        case errors.RevisionNotFoundError():
            return "no such revision; check model.revision"
        case errors.HfHubHTTPError(response=object(status_code=401 | 403)):
            return "access is denied; set HF_TOKEN to a token that may read it"
        case errors.HfHubHTTPError(response=object(status_code=status)):
            return f"the Hub answers {status}; try again later or use model=folder"
    return (
        "no connection to the Hub, or it broke off; run again to go on, check HF_ENDPOINT, "
        "set HF_HUB_OFFLINE=1 to use the cache, or use model=folder"
    )
