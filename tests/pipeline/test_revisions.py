import os
import shutil
import subprocess

import pipeline_repository
import pytest
import toy_repository
from pipeline_repository import dvc, edit, rewrite

from refrain.pipeline import dvc_files, git, manifest, revisions


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A toy repository of three commits: an adapter, full weights, another base; the first is tagged v1."""
    folder = toy_repository.repository(tmp_path_factory.mktemp("revisions") / "repository")
    pipeline_repository.run(folder, "git", "tag", "v1")
    edit(folder / "params.yaml", {"method.adapter": False})
    toy_repository.again(folder)
    pipeline_repository.run(folder, "git", "tag", "full-weights")
    edit(folder / "params.yaml", {"method.adapter": True, "seed": 2})
    toy_repository.again(folder)
    return folder


@pytest.fixture
def bench(finished, tmp_path, monkeypatch):
    """A copy of it, which is the current folder."""
    folder = shutil.copytree(finished, tmp_path / "repository", symlinks=True)
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith(("DVC_", "GIT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    return folder


def commit(name):
    return subprocess.run(["git", "rev-parse", name], capture_output=True, text=True).stdout.strip()


def back(folder):
    """The base of v1 is the base of the workspace again."""
    edit(folder / "params.yaml", {"seed": 1})
    dvc(folder, "repro", "base")


@pytest.mark.heavy
def test_tags_branches_and_short_hashes_are_resolved(bench):
    assert git.resolve_commit("main") == git.resolve_commit("HEAD") == git.resolve_commit(commit("HEAD")[:8])
    assert git.resolve_commit("v1") == commit("HEAD~2") != commit("HEAD")


@pytest.mark.parametrize("name", ["v2", "0123456789", "--help", "", "v1:params.yaml"])
def test_a_name_that_stands_for_nothing_is_one_sentence(bench, name):
    with pytest.raises(ValueError, match=r"^.*: this repository has no such commit or tag; [^\n]*$"):
        git.resolve_commit(name)


def test_small_numbers_of_a_lock_stay_numbers(bench):
    lock = revisions.read_lock("v1")
    assert list(lock) == list(toy_repository.STAGES)
    assert lock["export"]["params"] == {"params.yaml": {"rate": 1e-6}}


def test_a_commit_without_a_lock_is_one_sentence(bench):
    pipeline_repository.run(bench, "git", "rm", "-q", "dvc.lock")
    pipeline_repository.commit(bench)
    with pytest.raises(ValueError, match=r"^HEAD: this commit has no dvc\.lock"):
        revisions.read_lock("HEAD")


def test_an_identity_is_what_dvc_writes(bench):
    for path, md5 in dvc_files.output_hashes(revisions.read_lock("HEAD")).items():
        assert manifest.dvc_md5(bench / path) == md5


def test_what_an_earlier_commit_recorded_takes_the_place_of_what_is_there(bench, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "other").touch()
    revisions.fetch_output("v1", "models/base", tmp_path / "base")
    assert [file.name for file in (tmp_path / "base").iterdir()] == ["weights"]
    assert (tmp_path / "base" / "weights").read_text() == "1 two\nlines\n"
    revisions.fetch_output("v1", "models/onnx/model.onnx", tmp_path / "one" / "file")
    revisions.fetch_output("v1", "reports/metrics.json", tmp_path / "metrics.json")
    assert (tmp_path / "one" / "file").read_text() == "1 two\nlines\n"
    assert '"rows": 4' in (tmp_path / "metrics.json").read_text()


@pytest.fixture
def remote(bench, tmp_path):
    """Where everything was pushed, before the cache was lost."""
    dvc(bench, "remote", "add", "-d", "store", str(tmp_path / "store"))
    shutil.move(bench / ".dvc/cache", tmp_path / "store")  # a remote looks like a cache
    return tmp_path / "store"


def test_what_the_cache_lacks_comes_from_the_remote(bench, remote, tmp_path):
    revisions.fetch_output("v1", "models/base", tmp_path / "base")
    assert (tmp_path / "base" / "weights").read_text() == "1 two\nlines\n"


def test_a_byte_that_changed_on_the_remote_is_refused(bench, remote, tmp_path):
    [spoilt] = [file for file in remote.rglob("*") if file.is_file() and file.read_text() == "1 two\nlines\n"]
    spoilt.chmod(0o644)
    spoilt.write_text("2 two\nlines\n")
    with pytest.raises(ValueError, match=r"^models/base of v1: its bytes are not those that dvc\.lock names; [^\n]*$"):
        revisions.fetch_output("v1", "models/base", tmp_path / "base")
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize("path", ["models/base", "models/onnx/model.onnx", "models/nothing"])
def test_what_is_nowhere_is_one_sentence(bench, tmp_path, path):
    shutil.rmtree(bench / ".dvc/cache")
    (tmp_path / "out").write_text("as before")
    with pytest.raises(
        ValueError, match=rf"^{path} of v1 is neither in DVC's cache nor to be had from a remote [^\n]*$"
    ):
        revisions.fetch_output("v1", path, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "as before"


@pytest.mark.parametrize("rev, way_out", [("HEAD", "`dvc commit` puts it back"), ("v1", "`dvc repro` makes it anew")])
def test_what_the_cache_has_lost_and_the_workspace_holds_can_be_put_back(bench, tmp_path, rev, way_out):
    shutil.rmtree(bench / ".dvc/cache")
    with pytest.raises(ValueError, match=way_out):
        revisions.fetch_output(rev, "models/base", tmp_path / "out")


def test_the_listing_of_a_folder_is_read_from_the_cache_alone(bench, remote):
    md5 = dvc_files.output_hashes(revisions.read_lock("v1"))["models/base"]
    assert revisions.list_cached_files(md5) == {}
    shutil.copytree(remote, bench / ".dvc/cache")
    [(name, weights)] = revisions.list_cached_files(md5).items()
    assert name == "weights" and revisions.cache_path(weights).read_text() == "1 two\nlines\n"


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["v1", "commit", "short"])
def test_an_adapter_starts_from_a_tag_or_a_commit(bench, tmp_path, name):
    back(bench)
    start = {"v1": "v1", "commit": commit("v1"), "short": commit("v1")[:9]}[name]
    revisions.fetch_adapter(start, tmp_path / "adapter")
    assert sorted(file.name for file in (tmp_path / "adapter").iterdir()) == ["adapter_config.json", "weights"]


@pytest.mark.parametrize("name", ["HEAD", "HEAD~2", "main", "v1~0", "@"])
def test_an_adapter_never_starts_from_a_name_that_moves(bench, tmp_path, name):
    with pytest.raises(
        ValueError, match=rf"^method\.init_adapter={name} moves on; .* method\.init_adapter={commit(name)}$"
    ):
        revisions.fetch_adapter(name, tmp_path / "adapter")


def test_full_weights_are_no_adapter_to_start_from(bench, tmp_path):
    back(bench)
    with pytest.raises(
        ValueError, match=r"^method\.init_adapter=full-weights: what it trained is no adapter but all weights"
    ):
        revisions.fetch_adapter("full-weights", tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_an_adapter_of_another_base_is_no_adapter_to_start_from(bench, tmp_path):
    with pytest.raises(
        ValueError, match=r"^method\.init_adapter=v1: its adapter was trained on another models/base than "
    ):
        revisions.fetch_adapter("v1", tmp_path / "adapter")


@pytest.mark.heavy
def test_a_stage_starts_from_an_adapter_and_so_does_an_experiment_in_a_temporary_copy(bench):
    edit(bench / "params.yaml", {"seed": 1, "method.init_adapter": "v1"})
    pipeline_repository.commit(bench)
    dvc(bench, "exp", "run", "--temp", "-n", "aside")
    dvc(bench, "repro")
    assert (bench / "models/adapter/weights").read_text() == "1 two\nlines\n" * 2
    recorded = dvc_files.output_hashes(dvc_files.parse_stages((bench / "dvc.lock").read_text()))
    [aside] = pipeline_repository.run(
        bench, "git", "for-each-ref", "--format=%(objectname)", "refs/exps/*/*/aside"
    ).split()
    assert dvc_files.output_hashes(revisions.read_lock(aside)) == recorded


def test_a_stage_says_why_it_cannot_start(bench):
    rewrite(bench / "params.yaml", "init_adapter: null", "init_adapter: main")
    assert "ValueError: method.init_adapter=main moves on" in dvc(bench, "repro", fails=True)
