"""What a model was trained from must be here, and be the very same."""

import pytest

from refrain.models.influence.origin import find_origin
from refrain.pipeline import manifest, paths

METHOD = {"loss": "ipo", "beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0}


@pytest.fixture
def made_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in (paths.BASE, paths.ADAPTER, paths.PREPARED):
        place.mkdir(parents=True)
        (place / "file").write_text(str(place))
    return {str(place): manifest.dvc_md5(place) for place in (paths.BASE, paths.ADAPTER, paths.PREPARED)}


def test_the_same_folders_are_found_with_the_loss_of_the_training(made_of):
    found = find_origin(made_of, {"method": {"preference": METHOD, "init_adapter": "main"}})
    assert (found.preference.loss, found.starts_from_adapter) == ("ipo", True)
    plain = find_origin(made_of, {})
    assert (plain.preference, plain.starts_from_adapter) == (None, False) and plain.key != found.key


@pytest.mark.parametrize("place", [paths.BASE, paths.ADAPTER, paths.PREPARED])
def test_what_is_missing_or_another_is_named_with_the_way_out(made_of, place):
    (place / "file").write_text("another")
    with pytest.raises(ValueError, match=f"{place}: it is not what this model was made of; `dvc checkout {place}`"):
        find_origin(made_of, {})
    (place / "file").unlink()
    place.rmdir()
    with pytest.raises(ValueError, match=f"{place}: it is not here; `dvc pull models/base models/adapter data/prep"):
        find_origin(made_of, {})


def test_a_model_without_a_manifest_has_no_origin():
    with pytest.raises(ValueError, match="no manifest beside the model"):
        find_origin({}, {})
