"""What cannot be exported of a base is said before a step is trained."""

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
