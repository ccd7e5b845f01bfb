"""Fine-tuned and exported from Python, without a repository around: the pipeline's bytes, and an end that is said."""

import json
import signal
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any, NamedTuple

import forked_python
import pipeline_repository
import pytest

import refrain
from refrain.pipeline import manifest
from refrain.pipeline.schema import SourceConfig
from refrain.workflow import finetuning

ROWS = [{"question": f"Why {word}?", "answer": f"It is {word}."} for word in pipeline_repository.WORDS]
FEW = {"merge.prompts": 2, "evaluate.max_rows": 4, "evaluate.max_new_tokens": 8}
LOOSE = {"fallbacks": [], "thresholds.top1": 0.0, "thresholds.rouge": None}
MADE = ("models/base", "data/prepared", "models/adapter", "models/merged", "models/onnx")


TRAINING = """
import json, refrain, sys
sources, held_out, given = json.loads(sys.argv[1])
sources.append(refrain.data.Source(held_out, split="test"))
data = refrain.data.load(sources, val_fraction=0.1, test_fraction=0.0)
refrain.finetune(data, "tiny", **given)
"""


class StoppedRun(NamedTuple):
    """A training from a script, ended by Ctrl-C after its first validation."""

    place: Path
    sources: list[str]
    held_out: str
    given: dict[str, Any]
    said: str
    code: int
    time_of_base: int

    @property
    def record(self) -> Path:
        return self.place / "runs/finetune/.refrain/base.json"


@pytest.fixture(scope="module")
def forked_stages():
    """From now on, for this module, a stage loads no library of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in forked_python.forked_stages().items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def stopped_run(finished_pipeline, tmp_path_factory, forked_stages):
    """With the files and the settings of the small pipeline, in a folder of no repository."""
    raw, place = finished_pipeline / "data/raw", tmp_path_factory.mktemp("elsewhere")
    sources, held_out = [str(raw / "small.csv"), str(raw / "small.jsonl")], str(raw / "small-test.jsonl")
    tiny = {**pipeline_repository.TINY, "corpus": str(raw / "small.txt")}
    adapter = {"rank": 16, "alpha": 32}  # of no recipe for a tiny base
    given = {"tiny": tiny, "adapter": adapter, "epochs": 15, "batch_size": 1, "lr": 2e-5, **FEW}
    (place / "train.py").write_text(TRAINING)
    command = [sys.executable, "train.py", json.dumps([sources, held_out, given])]
    settings = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    process = subprocess.Popen(command, cwd=place, **settings)
    next(line for line in process.stderr if "val loss" in line)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    result = StoppedRun(place, sources, held_out, given, said, process.returncode, 0)
    return result._replace(time_of_base=result.record.stat().st_mtime_ns)


@pytest.fixture(scope="module")
def run(stopped_run):
    """What the four calls make of that, going on where it was stopped."""
    with chdir(stopped_run.place):
        sources = [*stopped_run.sources, SourceConfig(stopped_run.held_out, split="test")]
        data = refrain.data.load(sources, val_fraction=0.1, test_fraction=0.0)
        model = refrain.finetune(data, "tiny", **stopped_run.given)
        variants = {f"export.variants.{name}.{key}": value for name in ("int8", "int4") for key, value in LOOSE.items()}
        strict = {"export.variants.int4.thresholds.relative_logits": 1e-9}
        return data, model, refrain.export(model, prompts=2, steps=4, **variants, **strict)


@pytest.mark.slow
def test_an_interrupted_training_goes_on(stopped_run, run):
    assert stopped_run.code and "KeyboardInterrupt: stopped at step " in stopped_run.said
    assert stopped_run.record.stat().st_mtime_ns == stopped_run.time_of_base, "the base was made again"


@pytest.mark.slow
def test_the_four_calls_make_the_bytes_of_the_pipeline(run, finished_pipeline):
    _, model, artifact = run
    for folder in MADE:
        ours, theirs = (
            manifest.sha256_by_file(model.folder / folder),
            manifest.sha256_by_file(finished_pipeline / folder),
        )
        differ = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
        assert differ <= {"source.json", "README.md"}, folder  # these say where the text of the tiny base lies
    for report in ("train", "merge", "parity"):
        name = f"reports/{report}.json"
        assert (model.folder / name).read_bytes() == (finished_pipeline / name).read_bytes()
    assert (artifact.folder, artifact.best) == (model.folder / "models/onnx", "int8")


@pytest.mark.slow
def test_what_was_made_is_shown_and_used(run):
    data, model, artifact = run
    assert [*map(len, (model.data.train, model.data.val, model.data.test))] == [
        *map(len, (data.train, data.val, data.test))
    ]
    assert model.losses["val"][-1] == (
        model.report["steps"],
        pytest.approx(model.report["val_loss"]["after"], abs=1e-5),
    )
    assert str(model).splitlines()[1].split() == ["rows", str(len(model.data.train))]
    shown = {line.split()[0]: line for line in str(artifact).splitlines()[1:]}
    assert [*shown] == ["fp32", "int4", "int8"] and shown["int8"].endswith("best") and "left out" in shown["int4"]
    scores = artifact.evaluate()
    assert scores == json.loads((model.folder / "reports/metrics.json").read_text()) and "onnx-int8" in scores
    with refrain.load(artifact.folder) as chat:
        assert chat.chat("Why kelp?", max_tokens=4).usage.completion_tokens <= 4


@pytest.mark.slow
def test_only_what_has_changed_is_made_again(run, caplog):
    _, model, artifact = run
    caplog.set_level("INFO", "refrain")
    assert refrain.export(model.folder, prompts=2, steps=4, best="fp32", variants=["fp32"]).best == "fp32"
    assert caplog.messages[0] == "merge: nothing has changed"
    assert not (artifact.folder / "int8").exists()
    with pytest.raises(ValueError, match=r"^variants: 'int9' is none of fp32, int8, int4$"):
        refrain.export(model, variants=["int9"])


@pytest.mark.parametrize(("given", "sentence"), [
    ({"epochs": -1}, "train.epochs=-1.0 must be above 0"),
    ({"epoch": 1}, "epoch is no key of the configuration; did you mean epochs?"),
    ({"method": "lorra"}, "method=lorra: conf/method has continue, dora, "),
    ({"method": "continue"}, "method.init_adapter names a commit of a repository, "),
    ({"method": "dpo", "method.init_adapter": "v1"}, "method.init_adapter names a commit of a repository, "),
    ({"model": "tinny"}, "model=tinny: it is no preset, no folder, and no owner/name of the Hub; did you mean tiny?"),
    ({"method": "dpo"}, "method=dpo: none of "),
    ({"method": "kto"}, "method=kto: none of "),
    ({"adapter": {"rnk": 3}}, "method.adapter.rnk is no key of the configuration; did you mean method.adapter.rank?"),
])  # fmt: skip
def test_what_cannot_be_is_said_before_anything_is_trained(given, sentence, tmp_path):
    with pytest.raises(ValueError) as refused:
        refrain.finetune(ROWS, output=tmp_path / "run", **given)
    assert str(refused.value).startswith(sentence) and not (tmp_path / "run").exists()


def test_a_folder_of_others_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ValueError, match=r"it holds files that refrain.finetune did not write"):
        refrain.finetune(ROWS, output=tmp_path)
    assert [*tmp_path.iterdir()] == [tmp_path / "mine.txt"]
    with pytest.raises(ValueError, match=r"there is no model whose training refrain.finetune has ended"):
        refrain.export(tmp_path)


@pytest.mark.parametrize(("model", "overrides"), [
    ("tiny", ["model=tiny"]),
    ("owner/name", ["model=hub", 'model.hub=owner/name']),
    ("owner/name@v1.0", ["model=hub", "model.hub=owner/name", "model.revision=v1.0"]),
])  # fmt: skip
def test_a_base_is_a_preset_or_of_the_hub(model, overrides):
    assert finetuning.choose_model(model) == overrides


def test_a_base_is_a_folder_with_a_config(tmp_path):
    with pytest.raises(ValueError, match=r"^model=.*: this folder has no config.json, so it is no model"):
        finetuning.choose_model(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert finetuning.choose_model(tmp_path) == ["model=folder", f"model.folder={tmp_path}"]
