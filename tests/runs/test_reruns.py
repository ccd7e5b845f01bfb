"""Runs of the real pipeline, made small: a change reruns exactly the stages that it affects, and nothing is lost."""

import json
import re
import shutil

import pipeline_repository
import pytest
import yaml
from omegaconf import OmegaConf
from pipeline_repository import append, compose, dvc, edit, small, stage

from refrain.pipeline import paths

slow = pytest.mark.slow

AFTER = {  # what may rerun when a stage's outputs are new
    "base": {"prepare", "train", "merge", "export_onnx", "export_gguf", "evaluate"},
    "prepare": {"train", "merge", "export_onnx", "export_gguf", "evaluate"},
    "train": {"merge", "export_onnx", "export_gguf", "evaluate"},
    "merge": {"export_onnx", "export_gguf", "evaluate"},
    "export_onnx": {"evaluate"},
    "export_gguf": set(),
    "evaluate": set(),
}
CONF_EDITS = {
    "conf/model/small.yaml": ("tiny.epochs", 2, {"base"}),
    "conf/data/small.yaml": ("val_fraction", 0.2, {"prepare"}),
    "conf/template/default.yaml": ("jinja", "{{ messages }}", {"prepare", "train"}),
    "conf/method/lora.yaml": ("method.adapter.rank", 8, {"train"}),
    "conf/config.yaml: train": ("train.weight_decay", 0.1, {"train"}),
    "conf/config.yaml: merge": ("merge.relative_logits", 0.01, {"merge"}),
    "conf/export/small.yaml": ("steps", 5, {"export_onnx"}),
    "conf/config.yaml: gguf": ("gguf.prompts", 4, {"export_gguf"}),
    "conf/config.yaml: evaluate": ("evaluate.max_rows", 5, {"evaluate"}),
    "conf/config.yaml: seed": ("seed", 43, {"base", "prepare", "train"}),
}
FILE_EDITS = {
    "refrain/chat/encoding.py": {"base", "prepare", "train", "merge", "export_onnx", "export_gguf", "evaluate"},
    "refrain/data/corpus.py": {"base", "prepare"},
    "refrain/training/fit.py": {"base", "train"},
    "refrain/runtime/loading.py": {"merge", "export_onnx", "export_gguf", "evaluate"},
    "refrain/evaluation/metrics.py": {"merge", "export_onnx", "export_gguf", "evaluate"},
    "refrain/exporters/onnx/layers.py": {"export_onnx"},
    "refrain/exporters/gguf/writer.py": {"export_gguf"},
    "refrain/evaluation/divergence.py": {"merge", "export_onnx", "export_gguf", "evaluate"},
    "stages/merge.py": {"merge"},
    "data/raw/small.csv": {"prepare"},
    "data/raw/small.txt": {"base"},
}
IDLE_EDITS = [
    "refrain/cli/main.py",
    "refrain/generation/engine.py",
    "refrain/experiments/compose.py",
    "tests/runs/test_reruns.py",
    "data/raw/chats.json",
    "conf/method/full.yaml",
]


@pytest.fixture(scope="module")
def finished(finished_pipeline, tmp_path_factory):
    """The workspace as a repository of its own, small, run once and committed."""
    assert ran(finished_pipeline.with_name("said.txt").read_text()) == ["compose", *AFTER]
    return shutil.copytree(finished_pipeline, tmp_path_factory.mktemp("flows") / "repository", symlinks=True)


@pytest.fixture
def edited(finished):
    """The finished repository, to be edited but not to be run."""
    pipeline_repository.restore(finished)
    return finished


@pytest.fixture
def bench(edited):
    """The finished repository with the outputs that it was committed with."""
    dvc(edited, "checkout", "--force")
    return edited


@pytest.fixture
def fresh(tmp_path):
    """The workspace as a repository of its own, small, not run yet."""
    folder = pipeline_repository.repository(tmp_path / "repository")
    small(folder)
    pipeline_repository.commit(folder)
    return folder


def ran(output):
    """The stages that ran, in their order."""
    return re.findall(r"^Running stage '(\w+)'", output, re.M)


def cached(output):
    """The stages whose outputs came from the run cache."""
    return re.findall(r"^Stage '(\w+)' is cached", output, re.M)


def changed(folder):
    """The stages that have changed by themselves, once params.yaml follows conf/; a run goes on AFTER them."""
    compose(folder)
    return json.loads(dvc(folder, "status", "--json")).keys() - {"compose"}


def value(folder, key):
    return OmegaConf.select(OmegaConf.load(folder / "params.yaml"), key)


@slow
def test_what_comes_after_a_stage_is_what_dvc_yaml_says(finished):
    stages = yaml.safe_load((finished / "dvc.yaml").read_text())["stages"]
    made = {out: name for name, each in stages.items() for out in each["outs"] if isinstance(out, str)}
    after = {name: set() for name in AFTER}
    for name in reversed(AFTER):
        for dep in stages[name]["deps"]:
            for maker in {maker for out, maker in made.items() if f"{dep}/".startswith(f"{out}/")}:
                after[maker] |= {name, *after[name]}
    assert after == AFTER


@slow
def test_a_quantised_variant_that_misses_its_threshold_is_left_out_of_a_good_run(finished):
    proof, summary, scores = (
        json.loads((finished / path).read_text()) for path in (paths.PARITY, paths.SUMMARY, paths.METRICS)
    )
    assert "relative_logits allows 1e-09" in proof["int4"]["fails"][0] and not proof["int8"]["fails"]
    assert {each.name for each in (finished / paths.ONNX).iterdir()} == {
        "fp32",
        "int8",
        "best",
        "manifest.json",
        "README.md",
    }
    assert {*summary["rougeL"]} == {"base", "merged", "fp32", "int8", "best"}
    assert summary["rougeL"]["best"] == scores["onnx-int8"]["rougeL"], "the score that a search goes by"


@slow
def test_nothing_changed_runs_nothing_and_leaves_nothing(bench):
    output = dvc(bench, "repro")
    assert output.endswith("Data and pipelines are up to date.\n")
    assert ran(output) == []
    assert pipeline_repository.run(bench, "git", "status", "--porcelain") == ""


@slow
@pytest.mark.parametrize("place", CONF_EDITS)
def test_an_edit_of_conf_changes_the_stages_that_read_it(edited, place):
    key, new, stages = CONF_EDITS[place]
    edit(edited / place.split(":")[0], {key: new})
    assert changed(edited) == stages


@slow
@pytest.mark.parametrize("place", FILE_EDITS)
def test_an_edit_of_code_or_data_changes_the_stages_that_use_it(edited, place):
    append(edited / place, "# more\n")
    assert changed(edited) == FILE_EDITS[place]


@slow
def test_an_edit_of_what_no_stage_uses_changes_none(edited):
    for place in IDLE_EDITS:
        append(edited / place, "\n")
    assert changed(edited) == set()


@slow
def test_equal_bytes_end_a_rerun(bench):
    append(bench / "refrain/models/pretrained/hub.py", "# as before\n")
    append(bench / "stages/prepare.py", "# as before\n")
    assert ran(dvc(bench, "repro")) == ["base", "prepare"]
    assert ran(dvc(bench, "repro")) == []


@slow
def test_a_hand_edit_of_params_yaml_counts_and_is_not_lost(bench):
    edit(bench / "params.yaml", {"evaluate.max_rows": 3})
    assert ran(dvc(bench, "repro")) == ["compose", "evaluate"]
    assert ran(dvc(bench, "repro")) == []
    edit(bench / "conf/method/lora.yaml", {"method.adapter.rank": 8})
    refused = dvc(bench, "repro", fails=True)
    assert "conf/ was edited, and params.yaml holds values of its own: evaluate.max_rows=3; keep" in refused
    assert value(bench, "evaluate.max_rows") == 3


@slow
def test_an_experiment_is_kept_by_repro_undone_by_the_next_and_never_computed_twice(bench):
    """All but evaluate, whose scores are in Git and not in the cache."""
    costly = ["train", "merge", "export_onnx"]
    assert ran(dvc(bench, "exp", "run", "-S", "train.epochs=1", "export_onnx")) == ["compose", *costly]
    assert ran(dvc(bench, "repro", "export_onnx")) == []
    assert value(bench, "train.epochs") == 1

    plain = dvc(bench, "exp", "run", "export_onnx")
    assert value(bench, "composed.overrides") == []
    assert (ran(plain), cached(plain)) == (["compose"], costly)

    edit(bench / "conf/config.yaml", {"train.epochs": 1})
    again = dvc(bench, "repro", "export_onnx")
    assert "conf/ was edited, params.yaml follows: train.epochs=1" in again
    assert (ran(again), cached(again)) == (["compose"], costly)


@slow
def test_a_stage_by_hand_is_put_right_by_repro(bench):
    before = (bench / "data/prepared/train.jsonl").read_bytes()
    stage(bench, "prepare", "data.val_fraction=0.5")
    assert (bench / "data/prepared/train.jsonl").read_bytes() != before
    dvc(bench, "repro", "prepare")
    assert (bench / "data/prepared/train.jsonl").read_bytes() == before


@slow
def test_an_experiment_in_a_temporary_copy_runs_the_copys_code_on_the_users_files(fresh):
    append(fresh / "refrain/data/corpus.py", "print('the code is', __file__)\n")
    (fresh / ".git/info/exclude").write_text("private.csv\n")  # so that Git does not carry it into the copy
    (fresh / "private.csv").write_text((fresh / "data/raw/small.csv").read_text())
    sources = "data.sources=[{path: private.csv}]"
    said = dvc(fresh, "exp", "run", "--temp", "-n", "aside", "-S", "data.folder=.", "-S", sources, "prepare")
    assert f"the code is {fresh}/.dvc/tmp/exps/" in said
    assert "0-private.csv: 10 rows" in said
    assert not (fresh / "data/prepared").exists()


@slow
def test_queued_experiments_run_and_can_be_applied(bench):
    dvc(bench, "exp", "run", "--queue", "-n", "more", "-S", "data.val_fraction=0.2,0.3", "prepare")
    dvc(bench, "queue", "start")
    pipeline_repository.wait_for_queue(bench, "more", 2)
    dvc(bench, "queue", "stop")
    dvc(bench, "exp", "apply", "more-2")
    assert value(bench, "composed.overrides") == ["data.val_fraction=0.3"]
    assert ran(dvc(bench, "repro", "prepare")) == []


@pytest.fixture(scope="module")
def linked(tmp_path_factory):
    """A repository whose prepare and base have read files outside of it, and the folder of these files."""
    folder, outside = tmp_path_factory.mktemp("linked") / "repository", tmp_path_factory.mktemp("outside")
    pipeline_repository.repository(folder)
    small(folder)
    pipeline_repository.commit(folder)
    write_outside(outside)
    compose(folder, f"data.sources=[{{path: {outside}/rows.csv}}]", f"model.tiny.corpus={outside}/corpus.txt")
    (folder / "models/base").mkdir()
    dvc(folder, "repro", "prepare")
    dvc(folder, "commit", "--force", "base")  # as if it had run
    return folder, outside


@pytest.fixture
def reader(linked, tmp_path):
    """A copy of that repository."""
    return shutil.copytree(linked[0], tmp_path / "repository", symlinks=True)


@pytest.fixture
def outside(linked):
    """Those files as they were."""
    return write_outside(linked[1])


def write_outside(folder):
    rows, corpus = folder / "rows.csv", folder / "corpus.txt"
    rows.write_text("question,answer\nWhy?,Because.\n")
    corpus.write_text("A text.\n")
    return rows, corpus


@pytest.mark.heavy
def test_changes_of_files_outside_the_repository_are_seen(reader, outside):
    rows, corpus = outside
    assert json.loads(dvc(reader, "status", "--json", "prepare", "base")) == {}
    append(rows, "Why not?,Not.\n")
    append(corpus, "More.\n")
    status = json.loads(dvc(reader, "status", "--json"))
    assert {"changed deps": {"data/linked": "modified"}} in status["prepare"]
    assert {"changed deps": {"models/linked": "modified"}} in status["base"]
    assert "0-rows.csv: 2 rows" in dvc(reader, "repro", "prepare")


@pytest.mark.heavy
def test_a_file_that_vanished_is_named_and_another_can_take_its_place(reader, outside):
    rows, _ = outside
    other = rows.rename(rows.with_name("other.csv"))
    assert "data/linked/0-rows.csv" in dvc(reader, "repro", "prepare", fails=True)
    assert f"data.sources[0].path: there is no file {rows}; correct the path\n" in compose(reader, fails=True)
    compose(reader, f"data.sources=[{{path: {other}}}]")
    assert "0-other.csv: 1 rows" in dvc(reader, "repro", "prepare")


@pytest.mark.heavy
def test_files_of_a_folder_that_come_change_or_go_rerun_prepare_alone(reader, outside, tmp_path):
    rows, corpus = outside
    folder = tmp_path / "set"
    (folder / "in").mkdir(parents=True)
    for name in ("a.csv", "in/b.csv"):
        (folder / name).write_text(rows.read_text().replace("Why", f"Why {name[-5:]}"))
    compose(reader, f"data.sources=[{{path: {folder}}}]", f"model.tiny.corpus={corpus}")
    assert "0-set/in/b.csv: 1 rows" in dvc(reader, "repro", "prepare")
    changes = {
        "a picture comes": (lambda: (folder / "a.png").write_text("x"), set()),
        "a file comes": (lambda: (folder / "c.csv").write_text("question,answer\nWhy c?,So.\n"), {"prepare"}),
        "it goes": (lambda: (folder / "c.csv").unlink(), set()),
        "one changes": (lambda: append(folder / "in/b.csv", "Why not?,Not.\n"), {"prepare"}),
    }
    for name, (change, stages) in changes.items():
        change()
        assert json.loads(dvc(reader, "status", "--json", "compose", "base", "prepare")).keys() == stages, name
    (folder / "a.csv").unlink()
    output = dvc(reader, "repro", "prepare")
    assert ran(output) == ["prepare"] and "0-set/in/b.csv: 2 rows" in output and "a.csv" not in output


@pytest.mark.heavy
def test_a_copy_of_the_whole_repository_reads_its_own_data(fresh, tmp_path):
    dvc(fresh, "repro", "prepare")
    copy = shutil.copytree(fresh, tmp_path / "copy", symlinks=True)
    assert ran(dvc(copy, "repro", "prepare")) == []
    append(copy / "data/raw/small.csv", "Why copy?,To change.\n")
    assert "0-small.csv: 11 rows" in dvc(copy, "repro", "prepare")
    assert ran(dvc(fresh, "repro", "prepare")) == []
