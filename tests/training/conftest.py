"""What trainings of a few steps learn from, and when they leave checkpoints."""

import pytest
from short_trainings import digest, fit

from refrain.training.callbacks import checkpointing
from refrain.training.objectives import sft


@pytest.fixture(scope="session")
def features(talk, rows):
    return sft.encode_rows(talk, rows)[0]


@pytest.fixture(scope="session")
def undisturbed(base, features, tmp_path_factory):
    """A function that gives digest and curves of a training that nothing disturbed, made once for the same settings."""
    done = {}

    def train(**settings):
        if (key := repr(settings)) not in done:
            model, curves = fit(base, features, tmp_path_factory.mktemp("undisturbed"), **settings)
            done[key] = digest(model), curves
        return done[key]

    return train


@pytest.fixture
def eager(monkeypatch):
    """A checkpoint at each step that may have one."""
    monkeypatch.setenv(checkpointing.INTERVAL_VARIABLE, "0")
    monkeypatch.setattr(checkpointing, "COST_FACTOR", 0)
