"""What cannot be exported of a base is said before a step is trained."""

import re
from dataclasses import replace

import presets
import pytest

from refrain.pipeline import exporter_record, paths

REASON = "config.json: model_type=bloom is no family"


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths.BASE.mkdir(parents=True)
    return paths.BASE


def test_a_graph_or_a_variant_that_optimum_has_not_is_refused_with_the_reason(base):
    cfg = presets.config("export.graph=compact")
    exporter_record.require_exportable(cfg)  # there is no record yet
    exporter_record.write_record(base, "compact", None)
    exporter_record.require_exportable(cfg)
    exporter_record.write_record(base, "optimum", REASON)
    with pytest.raises(ValueError, match=f"export.graph=compact is not possible, for {REASON}; leave it null"):
        exporter_record.require_exportable(cfg)


def test_16_bits_need_the_compact_graph():
    export = presets.config().export
    assert list(exporter_record.find_problems(export, "optimum", REASON)) == []
    half = replace(export.variants["fp32"], weights=replace(export.variants["fp32"].weights, bits=16))
    wide = replace(export, variants={**export.variants, "fp16": half})
    (sentence,) = exporter_record.find_problems(wide, "optimum", REASON)
    assert sentence.startswith("export.variants.fp16.weights.bits=16 ") and REASON in sentence


def test_files_for_llama_cpp_that_cannot_be_written_are_refused_before_training(base, monkeypatch):
    cfg = presets.config("gguf.types=[q8_0]")
    exporter_record.write_record(base, "compact", None)
    exporter_record.require_exportable(cfg)
    exporter_record.write_record(base, "compact", None, "config.json: model_type=opt is not written as GGUF")
    exporter_record.require_exportable(presets.config())  # nobody asks for any
    with pytest.raises(ValueError, match=r"^gguf.types=\['q8_0'\] is not possible, for .* model_type=opt"):
        exporter_record.require_exportable(cfg)
    monkeypatch.setattr(exporter_record, "GGUF_PACKAGES", ("gguf", "no_such_llama"))
    with pytest.raises(ValueError, match=r"gguf.types needs no_such_llama: pip install 'refrain-lm\[gguf\]'"):
        exporter_record.require_exportable(cfg)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("gguf.types=[q4_K_M]", "gguf.types: q4_K_M is none of f32, f16, bf16, q8_0, q4_0"),
        ("gguf.types=[f32,f32]", "gguf.types names a type twice"),
        ("gguf.steps=0", "gguf.steps=0 must be above 0"),
        ("gguf=q6_k", "conf/gguf has all, none, q8_0"),
    ],
)
def test_types_that_nobody_writes_are_refused(override, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        presets.config(override)
