"""The stage export_gguf: what it leaves, what it leaves out, and what it says of it."""

import json
import logging
import shutil
from dataclasses import replace

import presets
import pytest
from gguf import GGUFReader

from refrain.chat import records
from refrain.exporters.gguf import writer
from refrain.pipeline import manifest, paths
from stages import export_gguf


@pytest.fixture
def cfg(base, adapter, merged, rows, tmp_path, monkeypatch):
    """The configuration of a workspace in which merge has run, and which is the current folder."""
    monkeypatch.chdir(tmp_path)
    for place, source in ((paths.BASE, base), (paths.ADAPTER, adapter), (paths.MERGED, merged)):
        shutil.copytree(source, place)
    (paths.BASE / "source.json").write_text('{"hub": "someone/Some Model", "revision": "main", "commit": "abc"}')
    paths.PREPARED.mkdir(parents=True)
    for split in ("train", "val", "test"):
        records.write_rows(paths.PREPARED / f"{split}.jsonl", rows if split == "test" else [])
    result = presets.config("gguf.types=[f32,q8_0]", "gguf.prompts=4", "gguf.steps=2")
    for each in result.gguf.thresholds.values():  # for a model of random weights
        each.top1, each.kl = 0.3, None if each.kl is None else 1.0
    return result


def names():
    return sorted(each.name for each in paths.GGUF.iterdir())


def test_without_types_the_stage_leaves_a_word_that_none_was_asked_for(cfg, caplog):
    caplog.set_level(logging.INFO)
    export_gguf.main(replace(cfg, gguf=replace(cfg.gguf, types=[])))
    assert names() == ["README.md"] and json.loads(paths.GGUF_REPORT.read_text()) == {} and caplog.text == ""


@pytest.mark.heavy
def test_the_stage_leaves_proven_files_a_modelfile_and_a_manifest_the_same_every_time(cfg):
    export_gguf.main(cfg)
    files = ["Some-Model-refrain-F32.gguf", "Some-Model-refrain-Q8_0.gguf"]
    assert names() == ["Modelfile", *files, "manifest.json"] and manifest.find_problems(paths.GGUF) == []
    assert (paths.GGUF / "Modelfile").read_text().startswith(f"FROM ./{files[1]}\nTEMPLATE ")
    keys = {name: field.contents() for name, field in GGUFReader(paths.GGUF / files[0]).fields.items()}
    assert keys["general.name"] == "Some-Model-refrain" and keys["general.source.commit"] == "abc"
    assert keys["refrain.merged"] == manifest.dvc_md5(paths.MERGED)
    report, facts = json.loads(paths.GGUF_REPORT.read_text()), manifest.read_manifest(paths.GGUF)
    assert facts["proof"] == report and facts["base"]["hub"] == "someone/Some Model"
    assert set(facts["versions"]) == {"gguf", "torch", "transformers", "xllamacpp"}
    assert report["types"]["f32"]["fails"] == [] and report["types"]["f32"]["whole"] < 1e-4
    before = manifest.content_hash(paths.GGUF)
    export_gguf.main(cfg)
    assert manifest.content_hash(paths.GGUF) == before


@pytest.mark.heavy
def test_a_file_that_fails_is_left_out_and_named(cfg, caplog):
    cfg.gguf.thresholds["q8_0"].kl = 0.0
    export_gguf.main(cfg)
    assert names() == ["Modelfile", "Some-Model-refrain-F32.gguf", "manifest.json"]
    assert "Some-Model-refrain-Q8_0.gguf is left out: q8_0: its next tokens diverge" in caplog.text
    assert json.loads(paths.GGUF_REPORT.read_text())["types"]["q8_0"]["fails"]


@pytest.mark.heavy
@pytest.mark.parametrize("types", [["f32", "q8_0"], ["q8_0"]])
def test_the_stage_fails_where_a_required_file_does_or_none_is_left(types, cfg, monkeypatch):
    monkeypatch.setattr(writer.tensors, "pair_neighbours", lambda linear, heads: linear)
    cfg.gguf.thresholds["q8_0"].relative_logits = 1.0
    with pytest.raises(ValueError, match=f"^{types[0]}: its logits in llama.cpp differ from the merged model's by"):
        export_gguf.main(replace(cfg, gguf=replace(cfg.gguf, types=types)))
    assert names() == [] and list(json.loads(paths.GGUF_REPORT.read_text())["types"]) == types[:1]


def test_a_family_that_llama_cpp_lacks_is_refused_before_anything_is_loaded(cfg):
    config = json.loads((paths.MERGED / "config.json").read_text())
    (paths.MERGED / "config.json").write_text(json.dumps(config | {"model_type": "opt"}))
    (paths.MERGED / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"^config.json: model_type=opt is not written as GGUF; those that are: llama"):
        export_gguf.main(cfg)
