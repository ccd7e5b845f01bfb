import pytest

from refrain.experiments import rebuild


@pytest.mark.parametrize("params, key", [
    ("data: {folder: ../elsewhere, sources: [{path: a.csv}]}", "data.sources[0].path"),
    ("data: {folder: data/raw, sources: [{path: a.csv}, {path: ../../../a.csv}]}", "data.sources[1].path"),
    ("model: {folder: ../model, tiny: null}", "model.folder"),
    ("model: {tiny: {corpus: ../a.txt}, folder: null}", "model.tiny.corpus"),
    ("data: {folder: /outside, sources: [{path: a.csv}]}\nmodel: {folder: ~/model}", None),
    ("data: {folder: data/raw/.., sources: [{path: ../a.csv}, {path: /outside/a.csv}]}", None),
    ("", None),
])  # fmt: skip
def test_a_relative_way_out_of_the_repository_is_named_an_absolute_one_can_be_gone(params, key):
    named = [sentence.split(" ")[0] for sentence in rebuild.unreachable_inputs(params)]
    assert named == ([key] if key else [])
