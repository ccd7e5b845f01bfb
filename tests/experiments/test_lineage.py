import json
import shutil
import subprocess
import sys

import pipeline_repository
import pytest

from refrain.experiments import lineage
from refrain.pipeline import manifest

FACTS = {
    "base": {"hub": "someone/small", "revision": "abc", "files": {"model.safetensors": "0" * 64}},
    "best": "int8",
    "cpu": "AVX2",
    "made_of": {"models/base": "1.dir", "data/prepared": "2.dir", "models/adapter": "3.dir"},
    "versions": {"torch": "2.0"},
}


@pytest.fixture
def folder(tmp_path):
    """An artifact folder that was fetched to where no repository is."""
    out = tmp_path / "fetched"
    (out / "best").mkdir(parents=True)
    (out / "best" / "model.onnx").write_bytes(b"abc")
    manifest.write_manifest(out, FACTS)
    return out


@pytest.fixture
def repository(folder, tmp_path):
    """A repository that recorded the artifact, then another, then the artifact again; a branch of it never did."""
    place = tmp_path / "repository"
    place.mkdir()
    pipeline_repository.init_git(place)
    ours = manifest.dvc_md5(folder)
    for subject, md5 in (("First", ours), ("Other", "0.dir"), ("Again", ours), ("Last", "1.dir")):
        lock = {"stages": {"export": {"outs": [{"path": "models/onnx", "md5": md5}]}}}
        (place / "dvc.lock").write_text(json.dumps(lock))
        pipeline_repository.run(place, "git", "add", "-A")
        pipeline_repository.run(place, "git", "commit", "-qm", subject)
    return place


def told(where, folder):
    """What `refrain info` prints, by the first word of a line."""
    command = [sys.executable, "-m", "refrain.cli.main", "info", str(folder)]
    done = subprocess.run(
        command,
        cwd=where,
        env=pipeline_repository.surroundings(where),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stderr == ""
    return [line.split(maxsplit=1) for line in done.stdout.splitlines()]


def test_an_artifact_says_what_it_was_made_of_and_no_repository_is_needed(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    seal = pipeline_repository.run(folder, "sh", "-c", "cd best && sha256sum model.onnx | sha256sum").split()[0]
    assert told(tmp_path / "elsewhere", folder) == [
        ["folder", str(folder)],
        ["md5", manifest.dvc_md5(folder)],
        ["base", "someone/small@abc of the Hub"],
        ["models/base", "1.dir"],
        ["data/prepared", "2.dir"],
        ["models/adapter", "3.dir"],
        ["best", f"int8, sha256 {seal}"],
        ["cpu", "AVX2"],
        ["torch", "2.0"],
    ]


def test_the_commits_that_recorded_exactly_these_files_are_found(folder, repository):
    lines = [text.split(maxsplit=2)[2] for name, text in told(repository, folder) if name == "commit"]
    assert sorted(lines) == ["Again", "First"]


def test_the_commit_at_head_is_listed_though_it_left_the_lock_as_it_was(folder, repository):
    pipeline_repository.run(repository, "git", "checkout", "-q", "HEAD~1")
    (repository / "notes").touch()
    pipeline_repository.run(repository, "git", "add", "-A")
    pipeline_repository.run(repository, "git", "commit", "-qm", "Notes")
    lines = [text.split(maxsplit=2)[2] for name, text in told(repository, folder) if name == "commit"]
    assert sorted(lines) == ["Again", "First", "Notes (HEAD)"]


@pytest.mark.parametrize("base, line", [
    ({"folder": "some", "files": {}}, "a folder, some"),
    ({"tiny": {"layers": 4, "width": 192, "corpus": "c.txt"}, "corpus": "0"},
     "tiny, 4 layers, 192 wide, pretrained on c.txt"),
    ({"elsewhere": 1, "tiny": {}}, "elsewhere 1"),
])  # fmt: skip
def test_a_base_is_told_in_words(base, line):
    assert lineage.describe_base(base) == line


def test_a_variant_says_base_data_and_commit_on_one_line(folder, repository, monkeypatch):
    lock = {"stages": {"merge": {"outs": [{"path": "models/merged", "md5": "4.dir"}]}}}
    (repository / "dvc.lock").write_text(json.dumps(lock))
    (repository / "reports").mkdir()
    sources = {f"{i}-{name}.csv": {} for i, name in enumerate(["a", "b-c", "d", "e"])}
    (repository / "reports/data.json").write_text(json.dumps({"sources": sources, "train": 1234}))
    manifest.write_manifest(folder, FACTS | {"made_of": FACTS["made_of"] | {"models/merged": "4.dir"}})
    monkeypatch.chdir(repository)
    known = f"{folder}/best is int8, of someone/small@abc of the Hub, "
    assert lineage.describe_origin(folder / "best") == f"{known}not committed"
    pipeline_repository.run(repository, "git", "add", "-A")
    pipeline_repository.run(repository, "git", "commit", "-qm", "Done")
    commit = pipeline_repository.run(repository, "git", "log", "-1", "--format=%h of %cs").strip()
    data = "trained on a.csv, b-c.csv, d.csv and 1 more (1,234 rows)"
    assert lineage.describe_origin(folder / "best") == f"{known}{data}, commit {commit}"
    assert (
        lineage.describe_origin(folder / "fp32")
        == f"{folder}/fp32, of someone/small@abc of the Hub, {data}, commit {commit}"
    )
    assert lineage.describe_origin(folder) == str(folder), "without a manifest nothing is known"


def test_files_that_no_commit_recorded_are_said_to_be_such(folder, repository):
    (folder / "best" / "model.onnx").write_bytes(b"abd")
    assert told(repository, folder)[-1] == ["commit", "none of this repository recorded these files"]


def test_the_columns_stand_below_each_other(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert len({line.index(line.split(maxsplit=1)[1]) for line in lineage.lineage_report(folder).splitlines()}) == 1


def test_an_artifact_of_before_says_what_it_knows(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    manifest.write_manifest(folder, {"best": "int8"})
    assert [line.split()[0] for line in lineage.lineage_report(folder).splitlines()] == ["folder", "md5", "best"]


def test_a_folder_that_is_no_artifact_is_one_sentence(folder, tmp_path):
    shutil.rmtree(folder)
    command = [sys.executable, "-m", "refrain.cli.main", "info", str(folder)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"refrain: {folder}/manifest.json: there is no such file")
