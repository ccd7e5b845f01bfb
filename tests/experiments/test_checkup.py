"""What `refrain doctor` finds, and what it says to do: real files, one thing amiss in each."""

import platform

import pytest

from refrain.cli import main
from refrain.experiments import checkup
from refrain.experiments.checks import environment, machine, remote, repository
from refrain.experiments.checks.finding import Finding


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def find_remotes(folder, text, asks=False):
    from dvc.config import Config

    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text(text)
    return list(remote.check_remotes(dict(Config(str(folder / ".dvc"))), asks))


VERIFIED = "[core]\nremote = a\n['remote \"a\"']\nverify = true\nurl = "


@pytest.mark.parametrize("make, state, words", [
    ([], "stop", "mount its disk; `dvc push` would create it"),
    (["team"], "note", "its disk is not mounted"),
    (["team", "team/files"], "ok", "can be written"),
])  # fmt: skip
def test_a_folder_as_a_remote_is_there_and_is_not_created(here, make, state, words):
    for name in make:
        (here / name).mkdir()
    [finding] = find_remotes(here, f"{VERIFIED}{here}/team")
    assert (finding.state, (here / "team").exists()) == (state, bool(make)) and words in " ".join(finding)


@pytest.mark.parametrize("text, states, words", [
    ("", ["ok"], "nothing is shared"),
    (f"{VERIFIED}s3://bucket/x", ["ok"], "not asked, `refrain doctor --remote` does"),
    (f"{VERIFIED}azure://bucket/x", ["stop"], "`pip install dvc-azure`"),
    (VERIFIED.replace("verify = true", "") + "s3://bucket/x", ["note"], "`dvc remote modify a verify true`"),
    (VERIFIED.replace("remote = a", "remote = b") + "s3://bucket/x", ["note", "ok"], "`dvc remote default a`"),
    (VERIFIED.replace("remote = a", "") + "s3://bucket/x", ["note", "ok"], "none is the default"),
])  # fmt: skip
def test_a_remote_is_configured_and_nothing_is_asked_over_a_network(here, text, states, words):
    findings = find_remotes(here, text)
    assert [finding.state for finding in findings] == states
    assert words in " ".join(" ".join(finding) for finding in findings)


def put(cache, md5, text):
    place = cache / "files/md5" / md5[:2] / md5[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


@pytest.mark.parametrize("listing, workspace, has_remote, state, words", [
    ('[{"md5": "bb2", "relpath": "a"}]', ["models/base", "models/onnx"], False, "ok", "2 of dvc.lock"),
    ('[{"md5": "bb3", "relpath": "a"}]', ["models/base", "models/onnx"], True, "note", "`dvc commit` puts them back"),
    ('[{"md5": "bb3", "relpath": "a"}]', ["models/onnx"], True, "note", "`dvc pull` fetches them, `dvc repro` makes"),
    ("[{", ["models/onnx"], False, "note", "`dvc repro` makes them"),
])  # fmt: skip
def test_what_is_not_in_the_cache_is_named_with_the_way_to_get_it_there(
    here, listing, workspace, has_remote, state, words
):
    cache = here / "cache"
    put(cache, "aa1", "")
    put(cache, "bb2", "")
    put(cache, "cc1.dir", listing)
    for path in workspace:
        (here / path).mkdir(parents=True)
    places = {"params.yaml": "dd1", "models/onnx": "aa1", "models/base": "cc1.dir"}
    lock = {"a": {"outs": [{"path": path, "md5": md5} for path, md5 in places.items()]}}
    finding = repository.check_outputs(cache, lock, has_remote)
    assert finding.state == state and words in " ".join(finding)
    assert (state == "ok") == ("models/base" not in finding.text)


def test_a_lock_with_the_marks_of_a_merge_stops_work(here):
    (here / "dvc.lock").write_text("stages:\n<<<<<<< HEAD\n  a: {}\n")
    finding = repository.check_lock(here, has_remote=False)
    assert (finding.state, finding.advice) == ("stop", "`git checkout HEAD dvc.lock`")


def test_packages_are_within_their_ranges():
    wanted = ["numpy>=1", "numpy>=99", "no-such-package<2", "dvc[s3]>=1"]
    version, missing = environment.find_problems(wanted)
    assert version.startswith("numpy ") and version.endswith(" is not >=99") and missing == "no-such-package missing"
    project = {"dependencies": ["numpy>=1", "tqdm>=1"]}
    tested = environment.check_tested_versions(f"numpy==0.1\ntqdm=={environment.find_version('tqdm')}\n", project)
    assert tested.state == "note" and tested.text.endswith("(0.1)") and "tqdm" not in tested.text


@pytest.mark.parametrize("finding, state, words", [
    (machine.check_memory(None), "ok", ""),
    (machine.check_memory(10**8), "stop", "100 MB free"),
    (machine.check_memory(10**9), "note", "`refrain inspect MODEL`"),
    (machine.check_processor("x86_64", frozenset({"avx2", "avx", "avx_vnni"})), "ok", "x86_64, avx2, avx_vnni"),
    (machine.check_processor("x86_64", frozenset({"avx2", "avx"})), "note", "no int8 dot products"),
    (machine.check_processor("x86_64", frozenset({"sse2"})), "note", "without AVX2"),
    (machine.check_processor("arm64", None), "ok", "arm64"),
])  # fmt: skip
def test_too_little_of_a_machine_is_said(finding, state, words):
    assert finding.state == state and words in " ".join(finding)


@pytest.mark.parametrize("threads, cores, quota, state, words", [
    ("", 10**4, None, "ok", "10000 cores"),
    ("1", 10**4, 1.5, "ok", "limited to 1.5 of them"),
    ("", 10**4, 1.5, "note", "`export OMP_NUM_THREADS=1`"),
    ("64", 2, None, "note", "`export OMP_NUM_THREADS=2`"),
])  # fmt: skip
def test_threads_beyond_the_cores_are_said(threads, cores, quota, state, words, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    finding = machine.check_threads(cores, quota)
    assert finding.state == state and words in " ".join(finding)


def test_outside_of_a_repository_only_what_serves_is_checked(here, capsys):
    code = main.main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    names = {line.split("  ")[0] for line in lines[: lines.index("")]}
    assert {"python", "packages", "onnxruntime", "disk", "memory", "processor"} <= names and "git" not in names
    assert lines[0].startswith("python") and platform.python_version() in lines[0]
    assert code == any("  STOPS  " in line for line in lines)


def test_what_stops_work_ends_with_1_and_a_line_to_do(here, capsys):
    (here / "dvc.yaml").touch()
    (here / "conf").mkdir()
    (here / "sub").mkdir()
    assert main.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "  dvc: `dvc init`, or go to a clone\n" in out and "  git: `git init " in out


def test_the_columns_stand_below_each_other():
    findings = [Finding("a", "ok", "x"), Finding("longer", "stop", "y", "do z"), Finding("c", "note", "w", "do v")]
    table, _, todo = checkup.describe_findings(findings).partition("\n\n")
    assert table == "a       ok     x\nlonger  STOPS  y\nc       look   w"
    assert todo == "1 of 3 checks stop work\n  longer: do z\n  c: do v"
