import shutil

from refrain.exporters.onnx import provenance
from refrain.pipeline import manifest, paths


def test_an_artifact_names_what_it_was_made_of_and_no_clock_or_place(merged, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in (paths.BASE, paths.PREPARED, paths.ADAPTER, paths.MERGED, paths.PARITY.parent):
        place.mkdir(parents=True)
        (place / "file").write_text(str(place))
    for folder in (paths.BASE, paths.MERGED):
        shutil.copytree(merged, folder, dirs_exist_ok=True)
    (paths.BASE / "special_tokens_map.json").write_text('{"eos_token": "<|end|>", "pad_token": "<|bos|>"}')
    (paths.BASE / "source.json").write_text("{}")
    paths.PARITY.write_text("{}")
    facts = provenance.manifest_facts("int8")
    assert facts["made_of"] == {
        path: manifest.dvc_md5(tmp_path / path)
        for path in ("models/base", "data/prepared", "models/adapter", "models/merged")
    }
    assert list(facts) == [
        "base",
        "best",
        "data",
        "made_of",
        "special_tokens",
        "stop_tokens",
        "parity",
        "cpu",
        "versions",
    ]
    old, new = "special_tokens_map.json", "tokenizer_config.json"
    assert facts["special_tokens"] == {
        "eos_token": {"token": "<|end|>", "from": old, f"not {new}": "<|im_end|>"},
        "pad_token": {"token": "<|bos|>", "from": old},
    }
    assert facts["stop_tokens"] == {"<|im_end|>": ["chat template", "generation_config.json"]}
    assert facts["cpu"].isupper() and facts["versions"]["torch"]
