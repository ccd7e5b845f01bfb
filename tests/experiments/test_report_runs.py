"""A report says of which run its parts are, and never shows the scores of one above the proof of another."""

import json
import shutil

import pipeline_repository
import pytest
import yaml
from pipeline_repository import edit, run

from refrain.chat import records
from refrain.experiments import report_runs, results
from refrain.pipeline import dvc_files, manifest, paths

SCORES = dict.fromkeys(results.COLUMNS, 0.5)
PROOF = {"prompts": 5, "steps": 4, "merged": {"reference": "adapter"}}
PREDICTION = {"id": "1", "question": "Why?", "prediction": "So.", "reference": "Because."}


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """A repository with the reports of a run, and the dvc.lock of its last stages, as DVC would write it."""
    folder = tmp_path_factory.mktemp("reports") / "repository"
    pipeline_repository.copy(folder, "dvc.yaml", ".dvc", ".gitignore")
    (folder / paths.PARAMS).write_text("train:\n  lr: 0.001\n")
    for path, content in {paths.METRICS: {"base": SCORES}, paths.PARITY: PROOF}.items():
        write(folder / path, content)
    (folder / paths.PREDICTIONS).mkdir()
    records.write_rows(folder / paths.PREDICTIONS / "base.jsonl", [PREDICTION])
    values = {str(paths.PARAMS): {"train": {"lr": 0.001}}}
    parts = {
        "train": {"params": values, "outs": [entry(paths.ADAPTER, "a.dir")]},
        "export_onnx": {
            "deps": [entry(paths.ADAPTER, "a.dir")],
            "outs": [entry(paths.ONNX, "b.dir"), entry(paths.PARITY, manifest.dvc_md5(folder / paths.PARITY))],
        },
        "evaluate": {
            "deps": [entry(paths.ONNX, "b.dir")],
            "outs": [entry(path, manifest.dvc_md5(folder / path)) for path in (paths.METRICS, paths.PREDICTIONS)],
        },
    }
    pipeline_repository.commit_run(folder, parts)
    return folder


@pytest.fixture
def bench(committed, tmp_path, monkeypatch):
    return pipeline_repository.enter_copy(committed, tmp_path, monkeypatch)


def entry(path, md5):
    return {"path": str(path), "hash": "md5", "md5": md5}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def rewrite_lock(change):
    """Change what dvc.lock lists, as a stage that succeeds does."""
    content = yaml.safe_load(dvc_files.LOCK.read_text())
    change(content["stages"])
    dvc_files.LOCK.write_text(yaml.safe_dump(content))


def shown():
    """Which of the three parts are printed, and the lines above them."""
    text = results.results_report(1)
    parts = {"scores": "exact_match", "proof": "5 prompts, up to 4 tokens", "samples": "Because."}
    return [name for name, sign in parts.items() if sign in text], text.partition("\n\n")[0].splitlines()


def test_one_run_is_named_by_its_artifact_and_its_commit(bench):
    commit = run(bench, "git", "rev-parse", "--short", "HEAD").strip()
    assert shown() == (["scores", "proof", "samples"], [f"run: models/onnx b.dir, commit {commit}"])
    rewrite_lock(lambda stages: stages["evaluate"].update(cmd="another"))
    assert shown()[1] == ["run: models/onnx b.dir, not committed"]


def test_values_and_inputs_that_are_others_since_are_named_with_the_ways_on_and_back(bench):
    edit(paths.PARAMS, {"train.lr": 0.002})
    rewrite_lock(lambda stages: stages["train"]["outs"][0].update(md5="c.dir"))
    parts, (_, since, on, back) = shown()
    assert parts == ["scores", "proof", "samples"]
    assert since == (
        "since then: train.lr was 0.001 and is 0.002; models/adapter is another, and export_onnx has not run on it"
    )
    assert "`dvc repro`" in on and back.startswith("go back: the run of commit ")


def test_the_proof_of_a_run_that_failed_stands_without_the_scores_of_the_one_before(bench):
    write(paths.PARITY, {**PROOF, "fp32": {"reference": "merged", "fails": ["fp32: too far"]}})
    parts, (proof, scores, on, _) = shown()
    assert parts == ["proof"] and "`dvc repro`" in on
    assert proof.startswith("proof: reports/parity.json is of a run that dvc.lock does not list, for export_onnx")
    assert scores == "scores: reports/metrics.json is of an earlier run, so it is not shown here"
    paths.METRICS.unlink()
    assert shown()[1][1] == "scores: reports/metrics.json is missing, for evaluate has not run since"


def test_scores_are_not_shown_above_a_proof_that_is_newer(bench):
    def export_again(stages):
        write(paths.PARITY, {**PROOF, "rows": 9})
        md5 = manifest.dvc_md5(paths.PARITY)
        stages["export_onnx"]["outs"] = [entry(paths.ONNX, "d.dir"), entry(paths.PARITY, md5)]

    rewrite_lock(export_again)
    parts, (proof, scores, *_) = shown()
    assert parts == ["proof"] and proof == "proof: reports/parity.json is of the last run"
    assert scores.endswith("is of an earlier run, so it is not shown here")


def test_a_fresh_clone_has_scores_and_says_how_to_get_the_rest(bench):
    paths.PARITY.unlink()
    shutil.rmtree(paths.PREDICTIONS)
    (bench / ".dvc/config.local").write_text("[core]\n    remote = far\n['remote \"far\"']\n    url = /far\n")
    parts, (_, missing) = shown()
    both = "reports/parity.json reports/predictions"
    assert parts == ["scores"] and f"`dvc pull --force {both}` brings that" in missing


def test_scores_and_proof_of_no_known_run_are_called_so(bench):
    dvc_files.LOCK.unlink()
    sentence = "run: unknown, for there is no dvc.lock; `dvc repro` makes one"
    assert shown() == (["scores", "proof", "samples"], [sentence])


def test_a_proof_says_of_how_many_prompts_and_tokens_it_is():
    measured = {"prompts": 6, "tokens": 74, "intervals": {"top1": [0.907, 0.993], "lost": None}}
    line = "int8, 95 % intervals over 6 held-out prompts, 74 tokens: top1 0.907 to 0.993"
    assert results.describe_intervals("int8", measured) == line
    assert results.describe_intervals("merged", {}) == ""
    assert results.parity_table({**PROOF, "int8": {"reference": "merged", **measured}}).endswith(line)


def test_the_proof_of_files_for_llama_cpp_is_shown_where_it_is_of_the_same_model(bench):
    measured = {"whole": 0.25, "mean": 0.05, "kl": 0.001, "top1": 1.0, "texts": 1.0, "fails": ["q8_0: too far"]}
    write(paths.GGUF_REPORT, {"prompts": 3, "texts": 9, "types": {"q8_0": measured, "f32": {"fails": []}}})
    assert "llama.cpp" not in results.results_report(1)  # dvc.lock lists no such file

    def record(stages, merged="m.dir"):
        stages["export_onnx"]["deps"] = [entry(paths.MERGED, "m.dir")]
        outs = [entry(paths.GGUF_REPORT, manifest.dvc_md5(paths.GGUF_REPORT))]
        stages["export_gguf"] = {"deps": [entry(paths.MERGED, merged)], "outs": outs}

    rewrite_lock(record)
    shown_lines = results.results_report(1).splitlines()
    assert "q8_0 is left out: too far" in shown_lines
    assert ["q8_0", "0.25", "0.05", "0.001", "1", "1"] in [line.split() for line in shown_lines]
    rewrite_lock(lambda stages: record(stages, "another.dir"))
    assert "llama.cpp" not in results.results_report(1)


def test_many_changes_are_counted(bench):
    assert list(report_runs.differences("a", {"b": 1, "c": {"d": None}}, {"b": 1, "c": {"d": 2}})) == [
        "a.c.d was None and is 2"
    ]
    edit(paths.PARAMS, {f"train.key{number}": number for number in range(8)})
    assert "; and 3 more" in shown()[1][1]


def test_no_measure_stands_twice_on_one_page_under_one_name(bench):
    heads = [line.split() for line in results.results_report(1).splitlines() if line.startswith("model ")]
    assert len(heads) == 2 and {*heads[0]} & {*heads[1]} == {"model"}
    assert "rouge" not in heads[1] and all(len(line) <= 120 for line in results.parity_table(PROOF).splitlines())


def test_each_score_is_shown_with_its_interval_where_the_report_has_one():
    scored = SCORES | {"rows": 8, "intervals": {"rougeL": [0.25, 0.75], "bleu": [0.01, 1.04], "perplexity": [0.4, 0.6]}}
    lines = results.metrics_table({"base": SCORES, "merged": scored}).splitlines()
    assert lines[-1].split(maxsplit=1) == ["merged", "0.0 to 1.0                  0.250 to 0.750  0.40 to 0.60"]
    assert [line.split()[0] for line in lines[1:]] == ["model", "base", "merged", "95", "merged"]


def test_a_text_of_a_row_is_no_command_to_the_terminal(tmp_path):
    row = {"question": "Why\x1b[2J?", "reference": "Because\x07", "prediction": "\x1b]0;owned\x07"}
    (tmp_path / "merged.jsonl").write_text(json.dumps(row))
    shown = results.sample_predictions(tmp_path, 1)
    assert "␛[2J" in shown and not {"\x1b", "\x07"} & set(shown)
