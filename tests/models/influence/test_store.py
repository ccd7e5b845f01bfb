"""Gradients on disk: bounded, shared, and gone when nobody needs them."""

import os

import numpy as np
import pytest

from refrain.models.influence import store


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)


def fill(key, rows=3):
    with store.open_store(key, 8) as kept:
        kept.append(np.full(rows, 2.0, np.float32), np.arange(8 * rows, dtype=np.float32).reshape(rows, 8))
        return len(kept)


def test_directions_come_back_and_rows_are_forgotten():
    with store.open_store("a", 8) as kept:
        assert len(kept) == 0 and len(kept.cosines(np.ones(8, np.float32))) == 0
        vectors = np.array([[3.0] + [0] * 7, [0, -4.0] + [0] * 6, [0] * 8], np.float32)
        kept.append(np.array([3.0, 4.0, 0.0], np.float32), vectors)
        assert kept.cosines(np.eye(8, dtype=np.float32)[1]).tolist() == [0, -1, 0]
        kept.truncate(1)
        assert len(kept) == 1


def test_the_newest_trainings_are_kept_and_none_that_is_in_use_goes():
    for age, key in enumerate(["old", "older", "oldest"]):
        fill(key)
        os.utime(store.store_root() / key / "lock", (1000 - age, 1000 - age))
    with store.open_store("oldest", 8):
        fill("new")
        assert {folder.name for folder in store.store_root().iterdir()} == {"new", "old", "oldest"}
        assert store.remove_all() == 2 * 3 * 20
        assert [folder.name for folder in store.store_root().iterdir()] == ["oldest"]
    assert store.remove_all() == 3 * 20 and store.remove_all() == 0


@pytest.mark.parametrize(("rows", "width"), [(10, 4096), (131_000, 4096), (132_000, 2048), (10**7, 512)])
def test_a_training_has_its_room(rows, width):
    assert store.choose_width(rows) == width
