import os
import re
import shutil
import subprocess
import sys

import pipeline_repository
import pytest
import toy_repository
from pipeline_repository import dvc, edit, rewrite

from refrain.pipeline import dvc_files


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A toy repository with one commit, tagged v1."""
    folder = toy_repository.repository(tmp_path_factory.mktemp("verify") / "repository")
    pipeline_repository.run(folder, "git", "tag", "v1")
    return folder


@pytest.fixture
def bench(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "repository", symlinks=True)


def refrain(folder, *arguments, **environment):
    """The exit code of a command, and what it printed to each side."""
    settings = {"cwd": folder, "env": pipeline_repository.surroundings(folder) | environment}
    done = subprocess.run(
        [sys.executable, "-m", "refrain.cli.main", *arguments],
        **settings,
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    return done.returncode, done.stdout, done.stderr


def verdicts(printed):
    """By output, what the last column of the table says."""
    return dict(re.findall(r"^\w+ +([\w/.]+)  .* (same|differs|not rebuilt)$", printed.split("\n\n")[0], re.M))


OUTPUTS = ["models/base", "models/adapter", "models/onnx", "reports/metrics.json"]
CLOCK = ('write("models/adapter/weights", ', 'write("models/adapter/clock", str(__import__("time").time_ns()))\n    '
         'write("models/adapter/weights", ')  # fmt: skip


@pytest.mark.heavy
def test_a_good_commit_has_the_same_bytes_wherever_and_whenever_it_is_rebuilt(bench, tmp_path):
    before = pipeline_repository.run(bench, "git", "status", "--porcelain", "--ignored")
    elsewhere = {"PYTHONHASHSEED": "77", "TZ": "Asia/Kathmandu", "LC_ALL": "C", "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    mask = os.umask(0o077)
    try:
        code, printed, progress = refrain(bench, "verify", **elsewhere)
    finally:
        os.umask(mask)
    assert (code, verdicts(printed)) == (0, dict.fromkeys(OUTPUTS, "same"))
    assert re.findall(r"^ +\d+ s  (\w+)$", progress, re.M) == list(toy_repository.STAGES)
    head = pipeline_repository.run(bench, "git", "rev-parse", "HEAD")[:12]
    assert printed.endswith(f"\nthe same bytes as {head} recorded\n")
    assert not list((tmp_path / "tmp").iterdir())
    assert pipeline_repository.run(bench, "git", "status", "--porcelain", "--ignored") == before
    folder = pipeline_repository.run(bench, "sh", "-c", "cd models/base && sha256sum weights | sha256sum")[:12]
    file = pipeline_repository.run(bench, "sha256sum", "reports/metrics.json")[:12]
    assert f"models/base           {folder}  same\n" in printed, "the sha256 of the list of a folder's files"
    assert f"reports/metrics.json  {file}  same\n" in printed


@pytest.mark.heavy
def test_an_earlier_commit_is_verified_and_what_is_not_committed_is_left_out(bench):
    rewrite(bench / "work.py", "Path(path).write_text(text)", "Path(path).write_text(text * 2)")
    pipeline_repository.commit(bench)
    rewrite(bench / "work.py", "text * 2", "text * 3")
    code, printed, said = refrain(bench, "verify", "v1")
    assert code == 0 and "the same bytes" in printed
    assert re.match(r"there are changes that are not committed; \w{12} is rebuilt without them\n", said)


@pytest.mark.heavy
def test_a_clock_is_found_in_the_first_stage_that_has_it_whatever_the_caches_hold(bench, tmp_path):
    dvc(bench, "config", "cache.dir", str(tmp_path / "shared"))
    dvc(bench, "remote", "add", "-d", "store", str(tmp_path / "store"))
    rewrite(bench / "work.py", *CLOCK)
    toy_repository.again(bench)
    dvc(bench, "push", "--run-cache")
    code, printed, said = refrain(bench, "verify")
    assert (code, "Traceback" in said) == (1, False)
    assert verdicts(printed) == {**dict.fromkeys(OUTPUTS, "same"), "models/adapter": "differs"}
    assert "\nmodels/adapter: not equal: clock; equal: 2 other files\n" in printed
    assert printed.endswith(
        "\ntrain is the first stage that differs; all its inputs are equal; "
        "equal are method, models/base, 1 path of code\n"
    )


@pytest.mark.heavy
def test_a_lock_that_was_tampered_with_is_found(bench):
    [before] = re.findall(r"path: models/onnx\n +hash: md5\n +md5: (\w+)", (bench / "dvc.lock").read_text())[:1]
    rewrite(bench / "dvc.lock", before, "0" * 32)
    pipeline_repository.commit(bench)
    code, printed, _ = refrain(bench, "verify")
    assert (code, verdicts(printed)["models/onnx"]) == (1, "differs")
    assert "export is the first stage that differs; all its inputs are equal" in printed.splitlines()[-1]


@pytest.mark.heavy
def test_an_input_that_was_not_there_when_it_was_recorded_is_named(bench):
    rewrite(bench / "work.py", "read_text() + earlier", "read_text() * 2 + earlier")
    pipeline_repository.commit(bench)
    code, printed, _ = refrain(bench, "verify")
    assert code == 1
    assert printed.splitlines()[-1] == (
        "train is the first stage that differs; not what was recorded are its inputs work.py; "
        "equal are method, models/base"
    )


@pytest.mark.heavy
def test_a_stage_that_fails_ends_the_rerun_by_its_name(bench):
    rewrite(bench / "work.py", "def export():", "def export():\n    sys.exit('export: the moon is full; wait')\n")
    pipeline_repository.commit(bench)
    code, printed, said = refrain(bench, "verify")
    assert (code, "Traceback" in said) == (1, False)
    assert verdicts(printed) == dict(zip(OUTPUTS, ["same", "same", "not rebuilt", "not rebuilt"], strict=True))
    assert printed.splitlines()[-1] == (
        "export is the first stage that is missing: the rerun stopped with 'export: the moon is full; wait' "
        "(failed to reproduce 'export': failed to run: python work.py export, exited with 1)"
    )
    assert "there are no scores to compare" in printed


@pytest.mark.heavy
def test_what_decides_rounding_is_shown_beside_scores_and_their_tolerances(bench):
    rewrite(bench / "work.py", *CLOCK)
    toy_repository.again(bench)
    rewrite(bench / "work.py", "import json, sys", "import json, sys  # not run yet")
    rewrite(bench / "work.py", '"rougeL": 0.5', '"rougeL": 0.6')
    edit(bench / "params.yaml", {"rate": 0.1})
    pipeline_repository.commit(bench)
    _, printed, _ = refrain(bench, "verify", OMP_NUM_THREADS="3", ATEN_CPU_CAPABILITY="default")
    shown = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line}
    assert shown["cpu"] == ["Z80", "DEFAULT", "differs"]
    assert shown["threads"] == ["not", "recorded", "3"]
    assert shown["torch"][0] == "0.1" and shown["torch"][2] == "differs"
    assert shown["rougeL"] == ["0.1000", "merged", "0.05", "beyond"]
    assert shown["perplexity"] == ["0.0000", "merged", "0.05", "within"]
    assert "\nscores beyond their tolerance: rougeL\n" in printed


@pytest.mark.heavy
def test_files_under_dvc_add_and_the_adapter_to_start_from_are_lent(bench, tmp_path):
    (bench / "big").mkdir()
    (bench / "big" / "data.txt").write_text("many\nlines\n")
    dvc(bench, "add", "big/data.txt")
    edit(bench / "dvc.yaml", {"stages.train.deps": ["models/base", "work.py", "big/data.txt"]})
    edit(bench / "params.yaml", {"method.init_adapter": "v1"})
    toy_repository.again(bench)
    code, printed, said = refrain(bench, "verify", "--folder", str(tmp_path / "kept"))
    assert (code, verdicts(printed)) == (0, dict.fromkeys(OUTPUTS, "same")), said
    assert (tmp_path / "kept/big/data.txt").read_text() == "many\nlines\n"
    kept = [file for file in (tmp_path / "kept/.dvc/cache").rglob("*") if file.is_file()]
    assert len(kept) == 3, "the two files of the adapter, and their list"


@pytest.mark.heavy
def test_a_folder_that_holds_something_is_left_alone(bench, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine.txt").touch()
    code, printed, said = refrain(bench, "verify", "--folder", str(tmp_path / "kept"))
    assert (code, printed, said.count("\n")) == (1, "", 1)
    assert said.startswith(f"refrain: {tmp_path}/kept: it is not empty; ")
    assert [file.name for file in (tmp_path / "kept").iterdir()] == ["mine.txt"]


@pytest.mark.heavy
@pytest.mark.parametrize("revision", ["v2", "bare"])
def test_what_cannot_be_verified_is_one_sentence(bench, revision):
    pipeline_repository.run(bench, "git", "rm", "-q", "dvc.lock")
    pipeline_repository.commit(bench)
    pipeline_repository.run(bench, "git", "tag", "bare")
    code, printed, said = refrain(bench, "verify", revision)
    assert (code, printed, said.count("\n")) == (1, "", 1)
    assert said.startswith(f"refrain: {revision}: this ")


@pytest.mark.heavy
def test_a_commit_that_reads_beside_the_repository_is_refused_before_anything_runs(bench):
    edit(bench / "params.yaml", {"data": {"folder": "../elsewhere", "sources": [{"path": "a.csv"}]}})
    pipeline_repository.commit(bench)
    code, printed, said = refrain(bench, "verify")
    assert (code, printed) == (1, "")
    assert re.fullmatch(
        r"refrain: \w{12} cannot be rebuilt elsewhere: data\.sources\[0\]\.path leads to \.\./elsewhere/a\.csv, .*\n",
        said,
    )


@pytest.mark.slow
def test_the_real_pipeline_gives_the_same_bytes_twice_also_from_files_outside_the_repository(
    finished_pipeline, tmp_path
):
    folder = shutil.copytree(finished_pipeline, tmp_path / "repository", symlinks=True)
    outside = shutil.move(folder / "data/raw/small.csv", tmp_path / "small.csv")
    pipeline_repository.compose(folder, f"data.sources.0.path={outside}", "evaluate.max_rows=3")
    toy_repository.again(folder)
    elsewhere = {"PYTHONHASHSEED": "77", "TZ": "Asia/Kathmandu", "LC_ALL": "C"}
    code, printed, said = refrain(folder, "verify", **elsewhere)
    assert code == 0, printed + said
    assert len(verdicts(printed)) >= 17 and set(verdicts(printed).values()) == {"same"}
    told = refrain(folder, "info")[1]
    head = pipeline_repository.run(folder, "git", "log", "-1", "--format=%h %cs %s")
    assert re.search(rf"^commit +{re.escape(head.strip())}", told, re.M)
    lock = dvc_files.output_hashes(dvc_files.parse_stages((folder / "dvc.lock").read_text()))
    for made_of in ("models/base", "data/prepared", "models/adapter", "models/merged"):
        assert re.search(rf"^{made_of} +{lock[made_of]}$", told, re.M)
