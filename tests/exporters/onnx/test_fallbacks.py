"""A variant that misses its thresholds is tried in other settings, and the first that reaches them is kept."""

import logging
import shutil
from dataclasses import asdict, replace

import pytest

from refrain.chat import model_folder
from refrain.chat.records import write_rows
from refrain.evaluation import gate, parity
from refrain.exporters.onnx import exporter, fallbacks, provenance
from refrain.models.pytorch import language_model, loading
from refrain.pipeline.export_schema import QuantizationConfig, Thresholds, VariantConfig
from refrain.runtime.loading import load_model

COARSE = QuantizationConfig(bits=4, block=32, head_bits=4)
FINE = QuantizationConfig(bits=8, block=32, head_bits=8)
FULL = VariantConfig(QuantizationConfig(bits=32), Thresholds(relative_logits=1e-3, top1=1.0, required=True))
REACHED_BY_FINE = Thresholds(kl=5e-3, top1=0.0)
REACHED_BY_NONE = Thresholds(kl=1e-9, top1=0.0)


@pytest.fixture(scope="module")
def measured(merged, talk, rows, settings):
    """A few prompts, and a function that compares what is in a folder on them."""
    export = replace(settings, prompts=2, steps=6)
    reference = language_model.TorchLanguageModel(loading.load_pretrained(merged))
    prompts = parity.parity_prompts(reference, talk, rows, model_folder.read_context_length(merged), export)
    return prompts, lambda folder, stop: parity.measure_parity(reference, load_model(folder), prompts, export, stop)


@pytest.fixture
def prove(merged, measured, settings, rows, tmp_path):
    """A function that exports and proves fp32 and a variant; it gives all attempts, and what was measured in order."""

    (tmp_path / "prepared").mkdir()
    write_rows(tmp_path / "prepared/train.jsonl", rows)

    def export(variant, full=FULL):
        proven = []

        def measure(folder, give_up):
            proven.append(folder.name)
            return measured[1](folder, give_up)

        export = replace(settings, variants={"fp32": full, "small": variant})
        prompts, prepared = measured[0], tmp_path / "prepared"
        return fallbacks.export_proven_variants(merged, tmp_path / "onnx", export, prompts, measure, prepared), proven

    export.artifact = tmp_path / "onnx"
    return export


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_first_fallback_that_reaches_the_thresholds_is_kept(prove, merged, measured, tmp_path, monkeypatch):
    attempts, proven = prove(VariantConfig(COARSE, REACHED_BY_FINE, [FINE, replace(FINE, block=16)]))
    assert [each.weights for each in attempts["small"]] == [COARSE, FINE] and proven == ["fp32", "small", "small"]
    exporter.export_variant(merged, tmp_path / "small", FINE, "compact", 18)
    assert contents(tmp_path / "onnx/small") == contents(tmp_path / "small")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/merge.json").write_text("{}")
    facts = provenance.parity_report(measured[0], attempts)["small"]
    assert (facts["weights"], facts["fails"]) == (asdict(FINE), [])
    (before,) = facts["failed_before"]
    assert before["weights"] == asdict(COARSE) and facts["kl"] <= 5e-3 and "kl allows" in before["fails"][0]


def test_a_variant_that_misses_every_rung_is_left_out_and_named(prove, tmp_path, caplog):
    attempts, _ = prove(VariantConfig(COARSE, REACHED_BY_NONE, [FINE]))
    variants = {"fp32": FULL, "small": VariantConfig(COARSE, REACHED_BY_NONE)}
    left = gate.remove_failing(tmp_path / "onnx", variants, {name: each[-1].fails for name, each in attempts.items()})
    assert left == ["fp32"] and [each.name for each in (tmp_path / "onnx").iterdir()] == ["fp32"]
    (warning,) = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert warning.startswith("small is left out: small: its next tokens diverge") and "allows 1e-09" in warning


def test_fp32_that_must_be_there_is_written_as_a_draft_and_proven_as_it_is(prove, merged, settings):
    small = VariantConfig(COARSE, Thresholds(kl=1.0, top1=0.0))
    excused = replace(FULL, thresholds=replace(FULL.thresholds, required=False))
    for variants in ({"fp32": excused, "small": small}, {"small": replace(small, thresholds=FULL.thresholds)}):
        assert exporter.export_draft(merged, prove.artifact, replace(settings, variants=variants)) is None
    assert not prove.artifact.exists()
    draft = exporter.export_draft(merged, prove.artifact, replace(settings, variants={"small": small, "fp32": FULL}))
    graph = prove.artifact / "fp32/model.onnx"
    written = graph.stat().st_mtime_ns
    attempts, proven = prove(small)
    assert proven == ["fp32", "small"] and attempts["fp32"][-1].is_good
    assert draft().context == 256 and graph.stat().st_mtime_ns == written


def test_a_setting_that_makes_the_same_file_is_proven_once(prove):
    attempts, proven = prove(VariantConfig(FINE, REACHED_BY_NONE, [replace(FINE, head_bits=None)]))
    assert len(attempts["small"]) == 2 and proven == ["fp32", "small"]


def test_a_cache_in_8_bits_is_proven_and_where_it_misses_one_in_fp32_is_tried_with_the_same_weights(prove, caplog):
    caplog.set_level(logging.INFO)
    narrow = replace(FINE, kv_bits=8)
    attempts, proven = prove(VariantConfig(narrow, REACHED_BY_FINE, [COARSE]))
    (kept,) = attempts["small"]
    assert kept.weights == narrow and kept.result.cached > 0 and proven == ["fp32", "small"]
    assert fallbacks.describe(narrow) == f"{fallbacks.describe(FINE)}, KV cache 8"
    shutil.rmtree(prove.artifact)
    attempts, _ = prove(VariantConfig(narrow, replace(REACHED_BY_FINE, kl=kept.result.kl * 0.99), [COARSE]))
    assert [each.weights for each in attempts["small"]][:2] == [narrow, FINE]
    measured = [message for message in caplog.messages if message.startswith("keys and values of 16 training rows: ")]
    assert len(measured) == 2, "once for each export"


def test_where_none_is_good_the_first_that_chance_excuses_is_written_again_and_named(caplog):
    bad, excused = fallbacks.Attempt(COARSE, None, ["too far"]), fallbacks.Attempt(FINE, None, [], ["too few tokens"])
    other, good = fallbacks.Attempt(FINE, None, [], ["too few"]), fallbacks.Attempt(FINE, None, [], [], ["by luck"])
    written = []
    assert fallbacks.keep_one([bad, excused, other], written.append) == [bad, other, excused] and written == [FINE]
    assert fallbacks.keep_one([bad, excused, good], written.append)[-1] is good and written == [FINE]
    assert fallbacks.keep_one([bad, bad], written.append) == [bad, bad] and written == [FINE]
    for attempt in (bad, excused, good):
        fallbacks.describe_chance("small", attempt)
    stays, lucky = caplog.messages
    assert stays.startswith("small stays, though not as the best, for chance explains what it misses: too few tokens; ")
    assert lucky.startswith("small reaches all thresholds, though other prompts might say otherwise: by luck; more ")


def test_nothing_is_tried_once_fp32_fails(prove, tmp_path):
    impossible = replace(FULL, thresholds=replace(FULL.thresholds, greedy=1.1))
    attempts, proven = prove(VariantConfig(FINE, REACHED_BY_FINE), impossible)
    assert attempts.keys() == {"fp32"} and proven == ["fp32"]
    with pytest.raises(ValueError, match=r"^fp32: .* wants 110"):
        gate.remove_failing(tmp_path / "onnx", {"fp32": impossible}, {"fp32": attempts["fp32"][-1].fails})


@pytest.mark.parametrize("required", [False, True])
def test_what_does_not_open_ends_the_run_only_where_it_is_required(required, prove, tmp_path, monkeypatch):
    def write_torn(merged, out, *rest):
        write(merged, out, *rest)
        if out.name == "small":
            shutil.copyfile(out / "config.json", out / "model.onnx")

    write = exporter.export_variant
    monkeypatch.setattr(exporter, "export_variant", write_torn)
    variant = VariantConfig(FINE, replace(REACHED_BY_FINE, required=required))
    if required:
        with pytest.raises(ValueError, match="it does not open"):
            prove(variant)
    else:
        (attempt,) = prove(variant)[0]["small"]
        assert attempt.result is None and "it does not open" in attempt.fails[0]
