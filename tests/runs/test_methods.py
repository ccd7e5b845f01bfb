"""Every preset of conf/method, stage by stage, to the ONNX that answers: a new one is tested by existing."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import card_reports
import pipeline_repository
import pytest
import torch
from pipeline_repository import ROOT

from refrain.chat import encoding, records
from refrain.models.pytorch import language_model
from refrain.models.pytorch import loading as models
from refrain.pipeline import params, paths
from refrain.runtime import language_model as decoding
from refrain.runtime import loading as runtime
from stages import evaluate, export_onnx, merge, train

PRESETS = sorted(file.stem for file in (ROOT / "conf/method").glob("*.yaml"))
ELSEWHERE = {"continue"}  # begins with a commit, so it wants a repository
SHORT = {
    "train": {"epochs": 2, "batch_size": 4, "micro_batch_tokens": 256},
    "merge": {"prompts": 8},
    "evaluate": {"max_rows": 4, "max_new_tokens": 8, "batch_size": 2},
}


@pytest.fixture
def workspace(base, rows, tmp_path, monkeypatch):
    """The current folder, in which base and prepare have run; every row has a worse reply, too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    shutil.copytree(base, paths.BASE)
    (paths.BASE / "source.json").write_text('{"made": "by conftest.py"}')
    paths.PREPARED.mkdir(parents=True)
    pairs = [{**row, "rejected": f"{row['messages'][0]['content']} no"} for row in rows]
    for split, some in {"train": pairs[:10], "val": pairs[10:13], "test": pairs[13:]}.items():
        records.write_rows(paths.PREPARED / f"{split}.jsonl", some)
    card_reports.write()  # train writes its own in place of this one


def configured(preset, export):
    """What a person gets who asks for that preset, on a model and rows that are tiny."""
    cfg = params.to_config(params.compose_with_hydra("config", ROOT / "conf", [f"method={preset}"]))
    sections = {name: replace(getattr(cfg, name), **values) for name, values in SHORT.items()}
    return replace(cfg, **sections, export=replace(export, best="fp32"))


@pytest.mark.slow
@pytest.mark.parametrize("preset", [name for name in PRESETS if name not in ELSEWHERE])
def test_a_preset_goes_from_rows_to_an_onnx_that_says_what_was_trained(preset, workspace, fitting):
    cfg = configured(preset, fitting)
    for stage in (train, merge, export_onnx, evaluate):
        stage.main(cfg)

    report = json.loads(paths.TRAIN_REPORT.read_text())
    assert report["rows"] == (20 if preset == "kto" else 10), "each reply of a pair by itself, and both together"
    learned = models.load_finetuned(paths.BASE, paths.ADAPTER).state_dict()
    begun = models.build_trainable(paths.BASE, cfg.method, cfg.seed)
    models.save_pretrained(begun, Path("begun"))
    before = models.load_finetuned(paths.BASE, Path("begun")).state_dict()
    assert learned.keys() == before.keys() and any(not torch.equal(learned[name], before[name]) for name in learned)

    talk = encoding.load_tokenizer(paths.ADAPTER)
    asked = [
        encoding.encode_prompt(talk, row["messages"][:-1]) for row in records.read_rows(paths.PREPARED / "test.jsonl")
    ]
    merged, best = (
        language_model.TorchLanguageModel(models.load_pretrained(paths.MERGED)),
        runtime.load_model(paths.ONNX / paths.BEST),
    )
    said = [decoding.greedy_decode(lm, asked, 12, talk.stop_ids) for lm in (merged, best)]
    assert said[0] == said[1] and all(said[0])
    assert {"base", "merged", "onnx-fp32"} <= json.loads(paths.METRICS.read_text()).keys()
    if preset == "lora":
        records.write_rows(paths.PREPARED / "test.jsonl", [])
        evaluate.main(cfg)
        ids = [row["id"] for row in records.read_rows(paths.PREDICTIONS / "merged.jsonl")]
        assert ids == [row["id"] for row in records.read_rows(paths.PREPARED / "val.jsonl")] != []


@pytest.mark.slow
def test_a_further_round_begins_where_the_adapter_of_an_earlier_commit_ended(finished_pipeline, tmp_path):
    folder = shutil.copytree(finished_pipeline, tmp_path / "repository", symlinks=True)
    pipeline_repository.run(folder, "git", "tag", "v1")
    first = json.loads((folder / paths.TRAIN_REPORT).read_text())
    moving = pipeline_repository.dvc(
        folder, "exp", "run", "-S", "method=continue", "-S", "method.init_adapter=main", fails=True
    )
    assert "method.init_adapter=main moves on; write the commit that it is now: method.init_adapter=" in moving
    assert "Running stage 'train'" not in moving
    round_two = ("method=continue", "method.init_adapter=v1", "train.epochs=5")
    pipeline_repository.dvc(folder, "exp", "run", *(word for each in round_two for word in ("-S", each)), "train")
    second = json.loads((folder / paths.TRAIN_REPORT).read_text())
    assert second["val_loss"]["before"] == pytest.approx(first["val_loss"]["after"], abs=1e-4)
    assert second["val_loss"]["after"] < second["val_loss"]["before"] < first["val_loss"]["before"]


IMPOSSIBLE = {
    "method.weights=random": (
        "method.weights=random needs method.adapter=null: an adapter cannot teach frozen random weights"
    ),
    "method.weights=random method.base_bits=4": (
        "method.weights=random has nothing to freeze or go on from; set base_bits and start of method to null"
    ),
    "method=from_scratch method.init_adapter=v1": (
        "method.weights=random has nothing to freeze or go on from; set base_bits and start of method to null"
    ),
    "method=dpo method.adapter=null method.weights=random": (
        "method.preference needs method.weights=pretrained: random weights prefer nothing"
    ),
    "method=full method.base_bits=4": (
        "method.base_bits=4 needs method.adapter: 4-bit weights are frozen; choose method=qlora"
    ),
    "method.base_bits=8": "method.base_bits=8 is neither 4 nor null",
    "method=continue": (
        "method.init_adapter has no value yet; give one: -S 'method.init_adapter=...', the commit or tag of an "
        "earlier adapter"
    ),
    "method=full method.init_adapter=v1": (
        "method.init_adapter needs method.adapter: what is trained further is an adapter; choose method=continue"
    ),
    "method.adapter.rank=0": "method.adapter.rank=0 must be above 0",
    "method.adapter.alpha=0": "method.adapter.alpha=0 must be above 0",
    "method.adapter.dropout=1": "method.adapter.dropout=1.0 is no share below 1",
    "method.adapter.init=svd": "method.adapter.init=svd is none of zero, pissa",
    "method=pissa method.base_bits=4": (
        "method.adapter.init=pissa takes its components from the weights; set method.base_bits=null"
    ),
    "method=pissa method.init_adapter=v1": (
        "method.init_adapter has matrices of its own, so pissa has no say; set method.adapter.init=zero"
    ),
    "method.adapter.layers=[]": (
        "method.adapter.layers=[] leaves nothing to train; null is all linear layers but the head"
    ),
    "method=dpo method.preference.loss=dpo": "method.preference.loss=dpo is none of sigmoid, ipo, orpo, kto",
    "method=dpo method.preference.beta=0": "method.preference.beta=0.0 must be above 0",
    "method=kto method.preference.undesirable_weight=0": ("method.preference.undesirable_weight=0.0 must be above 0"),
}


@pytest.mark.heavy
@pytest.mark.parametrize("overrides", IMPOSSIBLE)
def test_a_point_where_nothing_could_be_learned_is_refused_in_a_sentence(overrides):
    with pytest.raises(ValueError) as refusal:
        params.to_config(params.compose_with_hydra("config", ROOT / "conf", overrides.split()))
    assert str(refusal.value) == IMPOSSIBLE[overrides]


@pytest.mark.parametrize(
    "overrides",
    [
        "method=pissa method.adapter.dora=true method.adapter.rslora=true method.adapter.dropout=0.1",
        "method=ipo method.base_bits=4 method.adapter.dora=true",
        "method=dora method.adapter.layers=[embed_tokens] method.base_bits=4 method.init_adapter=v1",
        "method=dpo method.adapter=null",
    ],
)
def test_all_other_axes_go_together(overrides):
    params.to_config(params.compose_with_hydra("config", ROOT / "conf", overrides.split()))


@pytest.mark.heavy
def test_a_method_of_every_kind_has_a_preset():
    methods = [params.compose_with_hydra("config", ROOT / "conf", [f"method={name}"])["method"] for name in PRESETS]
    adapters = [method["adapter"] for method in methods if method["adapter"]]
    assert [method["name"] for method in methods] == PRESETS
    assert {method["weights"] for method in methods} == {"pretrained", "random"}
    assert {method["base_bits"] for method in methods} == {None, 4}
    assert {adapter["init"] for adapter in adapters} == {"zero", "pissa"}
    assert {adapter["dora"] for adapter in adapters} == {adapter["rslora"] for adapter in adapters} == {True, False}
    losses = {method["preference"] and method["preference"]["loss"] for method in methods}
    assert losses == {None, "sigmoid", "ipo", "orpo", "kto"}
