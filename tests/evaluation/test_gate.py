"""The gate: a sentence for every bar, who stops the run and who is left out, and speech that is not the trained one."""

import json
import logging
import shutil
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from threshold_results import BARS, JUST

from refrain.chat import encoding, model_folder
from refrain.evaluation import gate, verdict
from refrain.evaluation.divergence import DivergenceStats
from refrain.pipeline.export_schema import Thresholds, VariantConfig


@pytest.fixture
def folder(onnx, tmp_path):
    """A copy of a variant, to be changed."""
    return shutil.copytree(onnx / "fp32", tmp_path / "fp32")


@pytest.fixture
def artifact(tmp_path):
    """Folders of three variants, each with a file."""
    for name in ("fp32", "int8", "int4"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_text(name)
    return tmp_path


def edit(file, **changes):
    """Set keys of a JSON file, or take them out where they are None."""
    values = json.loads(file.read_text(encoding="utf-8")) | changes
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}), encoding="utf-8")


def variants(**required):
    return {name: VariantConfig(thresholds=replace(BARS, required=each)) for name, each in required.items()}


def sentences(**results):
    return {name: verdict.judge_variant(name, BARS, result).fails for name, result in results.items()}


def test_a_required_variant_that_fails_stops_the_run_with_all_that_is_wrong(artifact):
    bad = replace(JUST, whole=1, lost=7)
    with pytest.raises(ValueError) as error:
        gate.remove_failing(
            artifact, variants(fp32=True, int8=True, int4=False), sentences(fp32=JUST, int8=bad, int4=bad)
        )
    assert (
        str(error.value).split("; ") == verdict.judge_variant("int8", BARS, bad).fails
        and len(verdict.judge_variant("int8", BARS, bad).fails) == 2
    )
    assert {each.name for each in artifact.iterdir()} == {"fp32", "int8", "int4"}, "a run that stops changes nothing"


def test_all_required_variants_that_fail_are_named(artifact):
    bad = replace(JUST, top1=0.5)
    with pytest.raises(ValueError, match=r"^fp32: 50\.0% [^;]*; int8: 50\.0% [^;]*$"):
        gate.remove_failing(artifact, variants(fp32=True, int8=True), sentences(fp32=bad, int8=bad))


def test_a_variant_that_is_not_required_leaves_with_a_warning_and_the_others_stay(artifact, caplog):
    bad = replace(JUST, greedy=0.5, lost=2)
    why = sentences(fp32=JUST, int8=JUST, int4=bad)
    left = gate.remove_failing(artifact, variants(fp32=True, int8=True, int4=False), why)
    assert left == ["fp32", "int8"] and {each.name for each in artifact.iterdir()} == set(left)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"int4 is left out: {'; '.join(why['int4'])}"


def test_a_healthy_folder_speaks_as_it_was_trained(adapter, merged, onnx, rows):
    for folder in (merged, *onnx.iterdir()):
        gate.require_same_tokenizer(adapter, folder, rows)


def test_a_folder_with_the_files_of_the_reference_is_not_read(merged, folder, rows, monkeypatch):
    monkeypatch.setattr(gate.encoding, "load_tokenizer", lambda _: pytest.fail("it reads a tokenizer"))
    gate.require_same_tokenizer(merged, folder, rows)
    for name in ("tokenizer.json", "chat_template.jinja", "config.json"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content + b" ")
        with pytest.raises(pytest.fail.Exception):
            gate.require_same_tokenizer(merged, folder, rows)
        (folder / name).write_bytes(content)
    (folder / "added_tokens.json").write_text("{}")
    with pytest.raises(pytest.fail.Exception):
        gate.require_same_tokenizer(merged, folder, rows)


def test_a_stale_tokenizer_is_named_by_its_folder_and_the_row(adapter, folder, rows):
    """The words are there, but not the last pairs of letters that were learned."""
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    edit(folder / "tokenizer.json", model=content["model"] | {"merges": content["model"]["merges"][:-9]})
    sentence = r"^fp32: its tokenizer makes other ids of 0-said\.jsonl:\d+ than the model was trained on$"
    with pytest.raises(ValueError, match=sentence):
        gate.require_same_tokenizer(adapter, folder, rows)


@pytest.mark.parametrize("part", ["model", "decoder"])
def test_a_tokenizer_that_differs_where_no_prompt_shows_it_is_named(part, adapter, folder, rows):
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    vocabulary["\u00f8"], vocabulary["\u00f9"] = vocabulary["\u00f9"], vocabulary["\u00f8"]  # bytes of no text
    changes = {"model": content["model"], "decoder": {"type": "Fuse"}}
    edit(folder / "tokenizer.json", **{part: changes[part]})
    with pytest.raises(ValueError, match=r"^fp32: its tokenizer\.json is another than the one that the model was"):
        gate.require_same_tokenizer(adapter, folder, rows)


def test_a_missing_eos_token_is_named_though_the_template_ends_a_reply_with_it(adapter, folder, rows):
    edit(folder / "tokenizer_config.json", eos_token=None)
    with pytest.raises(ValueError, match=r'^fp32: its tokenizer_config\.json names the tokens {"pad'):
        gate.require_same_tokenizer(adapter, folder, rows)


def test_a_wrong_chat_template_is_named(adapter, folder, rows):
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("assistant\n", "assistant:\n"))
    sentence = r"^fp32: its chat template makes other ids of 0-said\.jsonl:0 than the model was trained on$"
    with pytest.raises(ValueError, match=sentence):
        gate.require_same_tokenizer(adapter, folder, rows)


def test_a_template_that_ends_a_reply_otherwise_is_named(adapter, folder, rows):
    """A single question has the same ids."""
    template = folder / "chat_template.jinja"
    ends = "{{ '<|end|>' if m.role == 'assistant' else '<|im_end|>' }}"
    template.write_text(template.read_text().replace("<|im_end|>", ends))
    with pytest.raises(ValueError) as error:
        gate.require_same_tokenizer(adapter, folder, rows)
    assert str(error.value) == (
        'fp32: its replies end with ["<|im_end|>", "<|end|>"], those it was trained on with ["<|im_end|>"]'
    )


@pytest.mark.parametrize("own", [None, 2, [2, 4], [4], []])
def test_a_missing_end_token_in_generation_config_is_named(own, adapter, folder, rows):
    edit(folder / "generation_config.json", eos_token_id=own)
    with pytest.raises(ValueError) as error:
        gate.require_same_tokenizer(adapter, folder, rows)
    assert str(error.value) == f"fp32: generation_config.json ends a reply with {own}, the chat template with [2]"


def test_a_missing_end_token_in_tokenizer_config_is_named(adapter, merged, folder, rows, tmp_path):
    """Where the template ends a reply with another token, eos_token is the only one to name this end."""
    trained = shutil.copytree(adapter, tmp_path / "trained")
    for each in (trained, folder):
        template = each / "chat_template.jinja"
        template.write_text(template.read_text().replace("<|im_end|>", "<|end|>"))
    edit(folder / "generation_config.json", eos_token_id=[2, 4])
    gate.require_same_tokenizer(trained, folder, rows)
    edit(folder / "tokenizer_config.json", eos_token=None)
    with pytest.raises(ValueError) as error:
        gate.require_same_tokenizer(trained, folder, rows)
    assert str(error.value).startswith("fp32: its tokenizer_config.json names the tokens ")


def test_a_model_that_ends_in_text_only_has_no_end_token(saved, tokenizer, rows, tmp_path):
    jinja = "{% for m in messages %}{{ m.role }}: {{ m.content }}###\n{% endfor %}"
    folder = saved(tokenizer)
    talk = encoding.load_tokenizer(folder, jinja)
    assert not talk.stop_ids and talk.stop_strings == ("###",)
    model_folder.copy_tokenizer(folder, tmp_path, jinja)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": []}')
    trained = shutil.copytree(tmp_path, tmp_path / "trained")
    (trained / "generation_config.json").unlink()  # a difference, so that the files are read
    gate.require_same_tokenizer(trained, tmp_path, rows)


FIRST_LOOKS = [(8, 0.05, True), (7, 0.05, False), (8, 0.039, False)]


@pytest.mark.parametrize(("prompts", "divergence", "is_given_up"), FIRST_LOOKS)
def test_a_variant_that_is_far_off_on_the_first_prompts_is_given_up_at_once(prompts, divergence, is_given_up):
    stats = DivergenceStats()
    noise = np.random.default_rng(0).uniform(0.99, 1.01, 20 * prompts)
    stats.kl_divergences, stats.mean_differences = list(noise * divergence), [0.1] * prompts
    sentence = r"diverge .* by 0.05 to 0.05 nats, .*kl allows 0.02; given up after 160 of 5000 tokens$"
    given_up = pytest.raises(ValueError, match=sentence)
    with given_up if is_given_up else nullcontext():
        gate.require_within_reach("v", Thresholds(kl=0.02, top1=0.0), 5000, stats)


@pytest.mark.parametrize("flips, divergences, sentence", [
    (7, [0.0] * 50, None),
    (8, [0.0] * 50, "at most 92.0% of its top1 tokens are the merged model's, "
             "export.variants.v.thresholds.top1 wants 96.0%; given up after 50 of 100 tokens"),
    (0, [0.039] * 50, None),
    (0, [2.1] + [0.0] * 49, None),
    (0, [0.042] * 50, "its next tokens diverge from the merged model's by at least 0.021 nats, "
               "export.variants.v.thresholds.kl allows 0.02; given up after 50 of 100 tokens"),
])  # fmt: skip
def test_a_variant_is_given_up_only_when_the_rest_cannot_save_it(flips, divergences, sentence):
    stats = DivergenceStats()
    stats.kl_divergences, stats.mean_differences = divergences, [0.1] * 7
    stats.agreements = {"whole": [True] * 50, "cached": [False] * flips + [True] * (50 - flips)}
    thresholds = Thresholds(kl=0.02, top1=0.96)
    if sentence is None:
        gate.require_within_reach("v", thresholds, 100, stats)
    else:
        with pytest.raises(ValueError) as error:
            gate.require_within_reach("v", thresholds, 100, stats)
        assert str(error.value) == sentence
