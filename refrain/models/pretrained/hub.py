"""Published weights from the Hub: one commit of a repository, checked before its weights are fetched."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, constants, errors, hf_hub_download, snapshot_download
from huggingface_hub.utils.tqdm import disable_progress_bars

from refrain.chat import templates
from refrain.models.pretrained import snapshot
from refrain.pipeline import paths, progress


def download_snapshot(repository: str, revision: str, out: Path) -> None:
    """`out` holds one checked commit, named in source.json; weights are fetched when all else has passed."""
    paths.make_empty(out)
    where = f"{repository}@{revision}" + (" in the cache" if constants.HF_HUB_OFFLINE else "")
    if not progress.is_shown():
        disable_progress_bars()
    with explain_client_errors(where):
        # By the revision, not by its commit: so the cache learns what the revision is and can answer offline.
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=snapshot.CONFIG))
        commit = folder.name

        def bring(files: list[str]) -> None:
            for name in files:
                hf_hub_download(repository, name, revision=commit)

        hashes = snapshot.hash_files(folder, snapshot.check_files(folder, list_files(repository, folder), where, bring))
    check_hashes(folder, hashes, where)
    snapshot.write_snapshot(folder, hashes, out, {"hub": repository, "revision": revision, "commit": commit})


def list_files(repository: str, folder: Path) -> list[str]:
    """What the Hub lists for the commit; offline, what the cache has of it."""
    if constants.HF_HUB_OFFLINE:
        return snapshot.list_names(folder)
    siblings = HfApi().model_info(repository, revision=folder.name).siblings or []
    return [
        file.rfilename for file in siblings if "/" not in file.rfilename.removeprefix(f"{templates.FURTHER_TEMPLATES}/")
    ]


def check_hashes(folder: Path, hashes: dict[str, str], where: str) -> None:
    """The cache keeps a large file under its published sha256, and a small one under a shorter name."""
    for name, sha256 in hashes.items():
        cached = (folder / name).resolve()
        if len(cached.name) == len(sha256) and cached.name != sha256:
            raise ValueError(f"{where}: {name} is not what was published; delete {cached} and run again")


@contextmanager
def explain_client_errors(where: str, key: str = "model", other: str = "model=folder") -> Iterator[None]:
    """The client's many errors as one sentence each, with the keys to change; those of the local disk pass."""
    try:
        yield
    except (OSError, errors.HFValidationError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{where}: {explain_error(error, key, other)}") from error


def explain_error(error: BaseException, key: str, other: str) -> str:
    match error:
        case errors.LocalEntryNotFoundError(__cause__=BaseException() as cause):
            return explain_error(cause, key, other)
        case errors.OfflineModeIsEnabled():
            return f"not found; unset HF_HUB_OFFLINE once to fetch it, or use {other}"
        case errors.HFValidationError():
            return f"not the name of a repository; write {key}.hub as owner/name"
        case errors.GatedRepoError():
            return "the repository is gated; ask for access on its page and set HF_TOKEN"
        case errors.RepositoryNotFoundError():
            return f"no such repository, or a private one; check {key}.hub or set HF_TOKEN"
        case errors.RevisionNotFoundError():
            return f"no such revision; check {key}.revision"
        case errors.HfHubHTTPError(response=object(status_code=401 | 403)):
            return "access is denied; set HF_TOKEN to a token that may read it"
        case errors.HfHubHTTPError(response=object(status_code=status)):
            return f"the Hub answers {status}; try again later or use {other}"
    return (
        "no connection to the Hub, or it broke off; run again to go on, check HF_ENDPOINT, "
        f"set HF_HUB_OFFLINE=1 to use the cache, or use {other}"
    )
