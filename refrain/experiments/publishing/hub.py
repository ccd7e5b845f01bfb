"""Publishing to a repository of the Hub: one commit, private unless asked otherwise, never over foreign files."""

import hashlib
import logging
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils.tqdm import disable_progress_bars

from refrain.experiments.publishing.hub_errors import explain_refused_card, explain_upload_errors, status_of
from refrain.experiments.publishing.plan import Content, Plan, content_sha256, content_size, read_published
from refrain.pipeline import manifest, progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Repository:
    """What a repository holds now."""

    commit: str | None = None
    is_private: bool = True
    files: dict[str, RepoSibling] = field(default_factory=dict)
    manifest: bytes = b""


def publish_to_hub(plan: Plan, repository: str, message: str, is_public: bool) -> tuple[str, bool]:
    """The address of a repository that holds the files of a plan, and whether any was sent; none is sent twice."""
    if not progress.is_shown():
        disable_progress_bars()
    with explain_upload_errors(repository):
        if constants.HF_HUB_OFFLINE:
            raise OfflineModeIsEnabled
        if get_token() is None:
            raise ValueError(f"{repository}: no token; set HF_TOKEN to one with write access, or run `hf auth login`")
        api = HfApi()
        there = read_repository(api, repository)
        if there is not None and not there.is_private and not is_public:
            raise ValueError(f"{repository}: this repository is public; --public says that this is meant")
        if there is None:
            create_repository(api, repository, is_public)
            there = read_repository(api, repository) or Repository()
        is_new = not has_files(there, plan)
        if is_new:
            commit_plan(api, plan, repository, there, message)
        if is_public and there.is_private:
            api.update_repo_settings(repository, private=False)
    return f"{api.endpoint}/{repository}", is_new


def create_repository(api: HfApi, repository: str, is_public: bool) -> None:
    """A new repository; ValueError where there is one that this token may not see."""
    try:
        api.create_repo(repository, private=not is_public)
    except HfHubHTTPError as error:
        if status_of(error) != 409:
            raise
        raise ValueError(f"{repository}: there is a repository of this name that this token may not see; choose "
                         "another name, or set HF_TOKEN to one that may write there") from error  # fmt: skip


def read_repository(api: HfApi, repository: str) -> Repository | None:
    """What a repository holds; None where there is none, or none that this token may see."""
    try:
        info = api.model_info(repository, files_metadata=True)
    except RepositoryNotFoundError as error:
        if status_of(error) == 401:
            raise
        return None
    files = {file.rfilename: file for file in info.siblings or []}
    text = b""
    if manifest.MANIFEST in files:
        with tempfile.TemporaryDirectory() as scratch:
            place = api.hf_hub_download(repository, manifest.MANIFEST, revision=info.sha, local_dir=scratch)
            text = Path(place).read_bytes()
    return Repository(info.sha, bool(info.private), files, text)


def has_files(there: Repository, plan: Plan) -> bool:
    """Whether a repository holds all files of a plan, and none of an earlier one that was left behind."""
    if there.manifest != plan.files[manifest.MANIFEST]:
        return False
    return all(name in there.files and is_same(there.files[name], each) for name, each in plan.files.items())


def is_same(file: RepoSibling, content: Content) -> bool:
    """Whether a file of the Hub has these bytes, as far as the Hub says it: by sha256, or by Git's own hash."""
    if file.lfs is not None:
        return file.lfs.sha256 == content_sha256(content)
    if file.size is not None and file.size != content_size(content):
        return False
    return file.blob_id is None or file.blob_id == git_hash(content)


def git_hash(content: Content) -> str:
    """The name that Git gives to these bytes."""
    data = content if isinstance(content, bytes) else content.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def commit_plan(api: HfApi, plan: Plan, repository: str, there: Repository, message: str) -> None:
    """One commit with the files that differ, without those of an earlier publication that are no longer meant."""
    facts = read_published(there.manifest)
    earlier = set() if facts is None else {*facts["files"], manifest.MANIFEST}
    if foreign := sorted(plan.files.keys() & there.files.keys() - earlier):
        raise ValueError(f"{repository}: it holds {foreign[0]}, which was not published from here; choose another "
                         "name, or delete it there")  # fmt: skip
    additions = [CommitOperationAdd(name, content) for name, content in plan.files.items()]
    gone = sorted(earlier & there.files.keys() - plan.files.keys())
    log.info("%s: %d files, %.1f MB", repository, len(additions), plan.total_bytes / 1e6)
    summary, _, description = message.partition("\n\n")
    with explain_refused_card(repository):
        api.create_commit(
            repository,
            [*additions, *(CommitOperationDelete(name) for name in gone)],
            commit_message=summary,
            commit_description=description,
            parent_commit=there.commit,
        )
