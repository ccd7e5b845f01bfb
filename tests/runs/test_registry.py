"""The artifact in DVC's model registry: versions and stages are Git tags made by GTO, and fetched without a clone."""

import pipeline_repository
import pytest
import remote_repository
import yaml
from pipeline_repository import dvc
from places import ROOT

from refrain.pipeline import manifest, paths

pytestmark = pytest.mark.heavy
ENTRY = yaml.safe_load((ROOT / "dvc.yaml").read_text())["artifacts"]["refrain"]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A Git host with two versions of the artifact, the first of them in production, and the store with their bytes."""
    folder = tmp_path_factory.mktemp("registry")
    repository = remote_repository.finished(folder / "repository")
    remote = remote_repository.directory(tmp_path_factory.mktemp("store"))
    dvc(repository, "remote", "add", "--default", "store", remote.url)  # a tag finds the remote of its own commit
    pipeline_repository.commit(repository)
    gto(repository, "register", "refrain", "--version", "v1.0.0")
    gto(repository, "assign", "refrain", "--version", "v1.0.0", "--stage", "prod")
    remote_repository.artifact(repository / paths.ONNX, block=32)
    dvc(repository, "commit", "--force")
    pipeline_repository.commit(repository)
    gto(repository, "register", "refrain")
    dvc(repository, "push", "--all-tags")
    pipeline_repository.run(repository, "git", "clone", "--quiet", "--bare", ".", str(folder / "host"))
    return folder / "host"


def gto(folder, *arguments):
    return pipeline_repository.run(folder, "gto", *arguments)


def size(folder):
    return (folder / "int8/model.onnx").stat().st_size


def test_the_entry_says_what_a_registry_shows():
    assert ENTRY.keys() == {"path", "type", "desc", "labels"}
    assert ENTRY["path"] == str(paths.ONNX) and ENTRY["type"] == "model"
    assert ENTRY["desc"] and all(isinstance(label, str) for label in ENTRY["labels"])


def test_versions_and_stages_are_fetched_by_name_without_a_clone(host, tmp_path):
    options = {"newest": "", "v1": "--rev v1.0.0", "prod": "--stage prod"}
    for name, words in options.items():
        dvc(tmp_path, "artifacts", "get", str(host), "refrain", "--out", name, *words.split())
    places = {name: tmp_path / name for name in options}
    assert not [problem for folder in places.values() for problem in manifest.find_problems(folder)]
    assert size(places["v1"]) == size(places["prod"]) != size(places["newest"])


def test_the_registry_lists_them(host, tmp_path):
    pipeline_repository.run(tmp_path, "git", "clone", "--quiet", str(host), "clone")
    shown = gto(tmp_path / "clone", "show", "refrain")
    assert "v1.0.0" in shown and "v1.0.1" in shown and "prod" in shown
