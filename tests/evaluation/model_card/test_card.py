"""The card of a real export, loaded by the Hub's own client: it says what was measured, and guesses nothing."""

import json
import platform
import shutil
from contextlib import chdir
from pathlib import Path

import exported_workspace
import pytest
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard_data import eval_results_to_model_index

from refrain.chat import encoding
from refrain.evaluation.model_card import card
from refrain.pipeline import manifest, paths
from refrain.runtime import language_model, loading

HUB = '{"hub": "birds/wren", "revision": "main", "commit": "%s", "files": {"model.safetensors": "ab"}}' % ("c" * 40)
CARD = "---\nlicense: other\nlicense_name: wren-terms\nlicense_link: https://wren.example/terms\n---\n# Wren\n"


@pytest.fixture(scope="module")
def workspace(base, adapter, rows, fitting, tmp_path_factory):
    """A base of the Hub under terms of its own, and rows that ask nothing."""
    folder = tmp_path_factory.mktemp("workspace")
    return exported_workspace.export(folder, base, adapter, rows, fitting, source=HUB, card=CARD)


@pytest.fixture(scope="module")
def whole(workspace):
    return ModelCard.load(workspace / paths.MODEL_CARD)


@pytest.mark.heavy
def test_the_hub_s_client_reads_the_card_and_writes_the_same_fields(whole):
    data = whole.data.to_dict()
    assert data.pop("model-index") == eval_results_to_model_index("wren-lora", whole.data.eval_results)
    assert data == {
        "license": "other",
        "license_name": "wren-terms",
        "license_link": "https://wren.example/terms",
        "language": ["en"],
        "library_name": "onnx",
        "pipeline_tag": "text-generation",
        "base_model": "birds/wren",
        "base_model_relation": "finetune",
        "tags": ["onnx", "onnxruntime", "refrain", "conversational", "lora"],
    }
    again = ModelCardData(**data, model_name="wren-lora", eval_results=whole.data.eval_results)
    assert again.to_dict() == whole.data.to_dict()


@pytest.mark.heavy
def test_the_model_index_holds_the_scores_and_intervals_of_the_variant_that_is_shipped(workspace, whole):
    best = manifest.read_manifest(workspace / paths.ONNX)["best"]
    scores = json.loads((workspace / paths.METRICS).read_text())[f"onnx-{best}"]
    results = {each.metric_name: each for each in whole.data.eval_results}
    assert results["ROUGE-L"].metric_value == scores["rougeL"] and results["BLEU"].metric_value == scores["bleu"]
    low, high = scores["intervals"]["rougeL"]
    assert results["ROUGE-L"].metric_args == {"low": low, "high": high, "confidence": 0.95}
    dataset = {(each.dataset_type, each.dataset_split, each.dataset_revision) for each in results.values()}
    assert dataset == {("local", "test", manifest.file_sha256(workspace / paths.PREPARED / "test.jsonl"))}


@pytest.mark.heavy
def test_the_text_tells_fates_proof_sizes_and_limits(workspace, whole):
    facts = manifest.read_manifest(workspace / paths.ONNX)
    assert "| 0-said.jsonl | 21 | 16 | 0 | 16 | 2 | 2 | 1 |" in whole.text
    assert "| empty\\|turn | 2 |" in whole.text  # a bar in a cell is no border
    largest = facts["parity"]["fp32"]["whole"]
    assert f"| fp32 | merged | logits, whole | at most 0.001 | {largest:.4g} |  |" in whole.text
    assert "| merged | adapter | logits, whole | at most 0.001 |" in whole.text
    assert f"commit `{'c' * 40}`" in whole.text and "It sees 256 tokens" in whole.text
    assert all(f"| onnx-{name}" in whole.text for name in ("fp32", "int8"))
    for path, md5 in facts["made_of"].items():
        assert f"| {path} | `{md5}` |" in whole.text


@pytest.mark.heavy
def test_the_artifact_has_the_card_without_scores_and_the_terms_of_its_base(workspace, whole):
    folder = workspace / paths.ONNX
    alone = ModelCard.load(folder / "README.md")
    assert alone.data.eval_results is None and "refrain publish" in alone.text
    assert alone.text.partition("\n## Scores")[0] == whole.text.partition("\n## Scores")[0]
    assert alone.text.partition("\n## Proof")[2] == whole.text.partition("\n## Proof")[2]
    assert (folder / "LICENSE.txt").read_text() == exported_workspace.LICENSE
    assert manifest.find_problems(folder) == []


@pytest.mark.heavy
def test_the_card_has_the_same_bytes_each_time_and_nothing_of_this_machine(workspace, fitting, tmp_path):
    folder = shutil.copytree(workspace, tmp_path / "elsewhere")
    facts = manifest.read_manifest(folder / paths.ONNX)
    with chdir(folder):
        card.write_card(paths.ONNX, facts, fitting.variants)
        card.write_scored_card(paths.ONNX, paths.METRICS, paths.MODEL_CARD)
    for path in (paths.ONNX / "README.md", paths.MODEL_CARD):
        text = (folder / path).read_text()
        assert text == (workspace / path).read_text()
        assert not [word for word in (str(workspace.parent), platform.node(), str(Path.home())) if word in text]


@pytest.mark.heavy
def test_the_lines_for_onnxruntime_alone_say_what_refrain_says(workspace, whole, talk, monkeypatch, capsys):
    monkeypatch.chdir(workspace / paths.ONNX)
    messages = [{"role": "user", "content": "hello 🙂"}]
    (code,) = [part.partition("```")[0] for part in whole.text.split("```python\n") if part.startswith("import json")]
    prompt = talk.tokenizer.decode(encoding.encode_prompt(talk, messages), skip_special_tokens=False)
    exec(code.replace('prompt = "..."', f"prompt = {prompt!r}"), {})
    ids = encoding.encode_prompt(talk, messages)
    [reply] = language_model.greedy_decode(
        loading.load_model(workspace / paths.ONNX / "best"), [ids], 64, talk.stop_ids
    )
    assert capsys.readouterr().out == talk.tokenizer.decode(reply) + "\n"
