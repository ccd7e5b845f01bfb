from refrain.export.onnx import provenance
from refrain.pipeline import manifest, paths


def test_an_artifact_names_what_it_was_made_of_and_no_clock_or_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in (paths.BASE, paths.PREPARED, paths.ADAPTER, paths.MERGED, paths.PARITY.parent):
        place.mkdir(parents=True)
        (place / "file").write_text(str(place))
    (paths.BASE / "source.json").write_text("{}")
    paths.PARITY.write_text("{}")
    facts = provenance.manifest_facts("int8")
    assert facts["made_of"] == {
        path: manifest.dvc_md5(tmp_path / path)
        for path in ("models/base", "data/prepared", "models/adapter", "models/merged")
    }
    assert list(facts) == ["base", "best", "data", "made_of", "parity", "cpu", "versions"]
    assert facts["cpu"].isupper() and facts["versions"]["torch"]
