"""`refrain compare` on a repository with commits, tags, experiments and a remote."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pipeline_repository
import pytest
import scored_repository
import yaml
from pipeline_repository import append, dvc, run
from places import ROOT

from refrain.cli import main
from refrain.evaluation.row_statistics import TEXT_METRICS

WIDTH = 100


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The toy, with two experiments of HEAD and a remote that holds all."""
    place = tmp_path_factory.mktemp("compare")
    folder = scored_repository.repository(place / "repository")
    dvc(folder, "exp", "run", "-n", "calm", "-S", "skill=0.45")
    dvc(folder, "exp", "run", "-n", "same", "-S", "seed=1", "-S", "skill=0.9")
    dvc(folder, "push", "-q", "--all-commits")
    pipeline_repository.restore(folder)
    dvc(folder, "checkout", "-q")
    return folder


@pytest.fixture
def compare(finished, tmp_path, monkeypatch, capsys):
    """compare(arguments): exit code, stdout and stderr, in a copy of the repository."""
    folder = shutil.copytree(finished, tmp_path / "repository", symlinks=True)
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith(("DVC_", "GIT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))

    def call(*arguments):
        code = main.main(["compare", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def facts(said):
    """The lines before the table of scores, and the verdict of each score."""
    verdicts = {
        line.split()[0]: line
        for line in said.splitlines()
        if line.startswith((*TEXT_METRICS, "perplexity")) and " to " in line
    }
    return said.splitlines()[:4], verdicts


@pytest.mark.heavy
def test_the_first_is_the_candidate_and_words_say_so(compare):
    code, said, _ = compare("newest", "half")
    head, verdicts = facts(said)
    assert code == 0
    assert head[0].startswith("candidate  newest, variant int8, its best: commit ")
    assert head[1].startswith("baseline   half, variant int8, its best: commit ")
    assert head[2:] == ["test rows  40, the same for both", "differ     skill 0.5 -> 0.9"]
    assert verdicts["exact_match"].split()[1:4] == ["0.5000", "0.9000", "+0.4000"]
    assert list(verdicts) == list(TEXT_METRICS), "the scores of answers"
    assert all("better" in line for line in verdicts.values())
    assert "newest (candidate) against half (baseline): better in exact_match" in said
    assert max(map(len, said.splitlines())) <= WIDTH
    assert "\x1b" not in said, "what a model says is text, and no command to the terminal"


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("names", "condition", "code"),
    [
        (("half", "newest"), "worse", 1),
        (("newest", "half"), "worse", 0),
        (("newest", "half"), "not-better", 0),
        (("half", "calm"), "worse", 0),
        (("half", "calm"), "not-better", 1),
        (("nowhere", "half"), "worse", 3),
        (("newest", "others"), "worse", 3),
    ],
)
def test_a_gate_has_a_code_for_each_outcome(compare, names, condition, code):
    found, said, error = compare(*names, "--fail-if", condition, "--metrics", "exact_match")
    assert found == code
    assert ("gate: passes" in said, "gate: fails" in said, bool(error)) == (code == 0, code == 1, code == 3)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("newst", "newst: this repository has no such commit, tag or experiment (did you mean newest?); "),
        ("half..newest", "half..newest: it stands for several commits; write the names of two runs"),
        ("^half", "^half: it stands for several commits"),
        (":int8", "':int8': the name of a run is missing; write HEAD, HEAD:int8 or workspace:int8"),
        ("half:", "'half:': the name of a variant is missing"),
    ],
)
def test_a_name_of_no_run_is_one_sentence_with_the_way_out(compare, name, reason):
    code, said, error = compare(name)
    assert (code, said, error.count("\n")) == (3, "", 1) and error.startswith(f"refrain: {reason}")


@pytest.mark.heavy
def test_without_predictions_or_a_history_it_says_so(compare):
    for file in Path("reports/predictions").iterdir():
        file.unlink()
    assert compare()[2].startswith("refrain: workspace: reports/predictions is empty; `dvc checkout` brings back")
    shutil.move(".git", "aside")
    for names in ((), ("half", "newest")):
        code, said, error = compare(*names)
        assert (code, said, error.count("\n"), "`git clone` brings" in error) == (3, "", 1, True)


def test_an_unknown_condition_is_a_wrong_option(compare):
    with pytest.raises(SystemExit) as stop:
        compare("half", "--fail-if", "slower")
    assert stop.value.code == 2


@pytest.mark.heavy
def test_variants_of_one_run_are_compared_too(compare):
    _, said, _ = compare("HEAD:merged", "HEAD:base", "--metrics", "exact_match", "--rows", "0")
    head, verdicts = facts(said)
    assert head[3] == "differ     variant base -> merged"
    assert verdicts["exact_match"].split()[1:4] == ["0.0000", "0.9000", "+0.9000"]
    code, _, error = compare("HEAD:int2", "HEAD:base")
    assert (code, error) == (
        3,
        "refrain: HEAD:int2: it has no predictions of int2; there are base, fp32, int8, merged\n",
    )


@pytest.mark.heavy
def test_different_test_sets_are_refused_or_their_common_rows_compared(compare):
    code, said, error = compare("others", "half")
    assert (code, said) == (3, "")
    assert "others and half have no test row in common" in error
    (code, said, error) = compare("workspace", "half")
    assert code == 0
    change_rows(
        lambda rows: [row | {"reference": f"{row['reference']}!"} if i < 3 else row for i, row in enumerate(rows)]
    )
    code, said, error = compare("workspace", "half")
    assert (code, said) == (3, "")
    assert "37 rows in both, 3 have another question or reference under the same id (such as 0-test.jsonl:1)" in error
    code, said, error = compare("workspace", "half", "--common", "--metrics", "exact_match")
    assert (code, error) == (0, "")
    assert "test rows  37 in common, for the test sets differ: 37 rows in both, 3 have another" in said
    assert "(not as dvc.lock lists it)" in said


def change_rows(change):
    """Other predictions in the workspace."""
    from refrain.chat import records
    from refrain.pipeline import paths

    file = paths.PREDICTIONS / "onnx-int8.jsonl"
    rows = change(records.read_rows(file))
    shutil.rmtree(paths.PREDICTIONS)
    paths.PREDICTIONS.mkdir()
    records.write_rows(file, rows)


@pytest.mark.heavy
def test_perplexity_is_tested_where_it_is_named_and_is_of_one_tokenizer(compare):
    line = facts(compare("newest", "half", "--metrics", "perplexity")[1])[1]["perplexity"]
    assert float(line.split()[3]) < 0 and "better" in line, "less is better"
    change_rows(lambda rows: [row | {"tokens": row["tokens"] + 1} for row in rows])
    code, _, error = compare("workspace", "newest", "--metrics", "perplexity")
    assert (code, "perplexity: row 0-test.jsonl:1 is 4 tokens to one model" in error) == (3, True)


@pytest.mark.heavy
def test_experiments_are_found_by_name_and_as_a_queue(compare):
    _, said, _ = compare("calm", "--metrics", "exact_match")
    assert said.startswith("candidate  calm, variant int8, its best: experiment ")
    assert "calm (candidate) against HEAD (baseline): worse in exact_match" in said
    _, said, _ = compare("--queue", "--json")
    found = {each["candidate"]["name"]: each["verdict"] for each in json.loads(said)["comparisons"]}
    assert found == {"calm": "worse", "same": "cannot tell"}
    code, _, error = compare("calm", "--queue")
    assert (code, "--baseline calm" in error) == (3, True)


@pytest.mark.heavy
def test_what_the_cache_lacks_comes_from_the_remote_and_what_is_nowhere_is_one_sentence(compare):
    shutil.rmtree(".dvc/cache")
    assert compare("newest", "half", "--metrics", "rougeL")[::2] == (0, "")
    code, _, error = compare("calm", "half")
    assert code == 3
    assert error.startswith(
        "refrain: reports/predictions of calm: neither DVC's cache nor the remote has them; whoever "
        "ran it pushes them with `dvc exp push`, `dvc exp pull` brings them here, or `dvc repro`"
    )
    dvc(Path.cwd(), "remote", "remove", "store")
    code, _, error = compare("half", "newest")
    assert "DVC's cache lacks them, and no remote is set" in error
    assert error.count("\n") == 1


@pytest.mark.heavy
def test_damage_is_named_with_the_file_that_has_it(compare):
    lock = yaml.safe_load(run(Path.cwd(), "git", "show", "half:dvc.lock"))["stages"]["evaluate"]["outs"]
    md5 = next(out["md5"] for out in lock if out["path"] == "reports/predictions")
    file = Path(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}")
    file.chmod(0o644)
    append(file, " ")
    code, _, error = compare("newest", "half")
    assert code == 3
    assert "checksum mismatch" in error
    assert md5[2:] in error
    append(Path("reports/predictions/onnx-int8.jsonl"), '{"id": "1"')
    code, _, error = compare("workspace", "newest")
    assert "reports/predictions of workspace, int8, line 41: it is no prediction" in error


@pytest.mark.heavy
def test_the_document_has_the_described_shape(compare):
    _, said, _ = compare("half", "newest", "--json", "--rows", "2", "--fail-if", "worse", "--metrics", "rougeL", "bleu")
    document = json.loads(said)
    [comparison] = document["comparisons"]
    assert (document["alpha"], document["adjustment"], document["tests"]) == (0.05, "holm", 2)
    assert document["gate"] == {"fail_if": "worse", "fails": True}
    assert list(comparison["scores"]) == ["rougeL", "bleu"]
    assert comparison["settings"] == {"skill": {"baseline": 0.9, "candidate": 0.5}}
    changed = comparison["changed_rows"]
    assert (changed["won_count"], changed["lost_count"], len(changed["lost"])) == (0, 16, 2)
    assert changed["lost"][0]["baseline"] == changed["lost"][0]["reference"] != changed["lost"][0]["candidate"]


@pytest.mark.heavy
def test_seeds_are_repetitions_of_one_configuration(compare):
    names = ("newest", "repeated-0.9", "repeated-0.5", "--baseline", "half")
    code, said, _ = compare(*names, "--over", "seed", "--metrics", "exact_match", "--fail-if", "not-better", "--json")
    document = json.loads(said)
    [comparison] = document["comparisons"]
    assert (code, document["over"], document["gate"]["fails"]) == (0, "seed", False)
    assert (comparison["candidate"], comparison["baseline"]) == ({"skill": 0.9}, {"skill": 0.5})
    assert comparison["scores"]["exact_match"]["verdict"] == comparison["verdict"] == "better"
    assert [each["scores"]["exact_match"] for each in document["configurations"]] == [[0.9, 0.9], [0.5, 0.5]]
    _, said, _ = compare(*names, "--over", "seed")
    assert "skill=0.9 (candidate) against skill=0.5 (baseline)" in said
    assert "Of 2 runs the deviation is known roughly: the true one is 0.45 to 32 times" in said
    assert max(map(len, said.splitlines())) <= WIDTH
    code, said, _ = compare("newest", "half", "--over", "seed", "--fail-if", "not-better")
    assert (code, "one run says nothing of its spread over seed" in said) == (1, True)
    wrongs = {"sead": "its params.yaml has no sead", "seed --metrics rouge": "no such score to compare"}
    for wrong, reason in wrongs.items():
        code, _, error = compare("newest", "half", "--over", *wrong.split())
        assert (code, reason in error) == (3, True)


@pytest.mark.heavy
def test_repetitions_in_the_queue_do_without_a_head_that_was_tested_on_other_rows(compare):
    here, (head, others) = Path.cwd(), (run(Path.cwd(), "git", "rev-parse", name) for name in ("HEAD", "others"))
    for name in ("calm", "same"):
        run(here, "git", "update-ref", f"refs/exps/{head[:2]}/{head[2:].strip()}/{name}", others.strip())
    code, said, error = compare("--queue", "--over", "seed")
    assert (code, "1 run, seed 1" in said) == (0, True)
    assert error == "HEAD was tested on other rows than the experiments, and so is left out\n"
    code, _, error = compare("--queue", "--over", "seed", "--baseline", "HEAD")
    assert (code, "were tested on different rows" in error) == (3, True), "who names it wants it"


@pytest.mark.heavy
def test_runs_whose_rows_have_no_loss_are_repetitions_in_all_other_scores(compare):
    for file in Path("reports/predictions").glob("*.jsonl"):
        file.write_text(re.sub(r', "loss": [^}]*', "", file.read_text()))
    code, said, _ = compare("workspace", "newest", "--over", "seed", "--fail-if", "worse")
    assert (code, "perplexity" in said, "fails, for nothing was judged" in said) == (1, False, True)
    code, _, error = compare("workspace", "newest", "--over", "seed", "--metrics", "perplexity")
    assert (code, "row 0-test.jsonl:1 has no loss" in error) == (3, True)


@pytest.mark.heavy
def test_the_page_holds_all_rows_wherever_it_is_asked_for(compare, monkeypatch):
    monkeypatch.chdir("reports")
    assert compare("newest", "half", "--html", "page.html")[0] == 0
    page = Path("reports/page.html").read_text()
    assert "newest (candidate) against half (baseline)" in page
    assert page.count("Why 39?") >= 1
    assert "<script src" not in page


def test_outside_a_repository_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main.main(["compare", "HEAD", "main"]) == 3
    assert "no repository of Refrain is here or above" in capsys.readouterr().err


def test_the_workflow_of_the_docs_is_read_and_its_command_is_one():
    workflow = yaml.safe_load((ROOT / "docs/ci/compare.yml").read_text())
    steps = workflow["jobs"]["compare"]["steps"]
    assert workflow[True] == {"pull_request": {"paths": ["dvc.lock"]}}, "YAML reads on as true, and so does GitHub"
    assert steps[0]["with"]["fetch-depth"] == 0, "the baseline has to be there"
    [command] = [step["run"] for step in steps if step.get("run", "").startswith("refrain ")]
    words = shlex.split(command.partition(" > ")[0])
    options = main.build_parser().parse_args(words[1:])
    assert (options.names, options.fail_if, options.html) == (["HEAD", "$BASELINE"], "worse", Path("compare.html"))
    assert not [step for step in steps if "${{" in step.get("run", "")], "a branch's name is no part of a script"
