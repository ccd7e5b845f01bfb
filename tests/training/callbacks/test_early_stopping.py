from functools import partial

import pytest
import torch
from short_trainings import At, digest, fit, interrupt

from refrain.training import fit as training
from refrain.training.objectives import sft
from refrain.training.objectives.logprobs import sequence_logprobs


@pytest.mark.heavy
def test_patience_ends_a_training_and_keeps_the_best_weights(base, features, tmp_path):
    """Learned by heart from four rows, at a rate that soon does harm to the others."""
    settings = {"held_out": features[8:], "lr": 1e-2, "batch_size": 2}
    _, long = fit(base, features[:4], tmp_path / "long", epochs=12, **settings)
    losses = [loss for _, loss in long.val]
    best = losses.index(min(losses))
    assert 0 < best < 8, "otherwise this test shows nothing"
    patient, curves = fit(base, features[:4], tmp_path / "patient", epochs=12, patience=2, **settings)
    assert [loss for _, loss in curves.val] == losses[: best + 3]
    loss = loss_of(patient, features[8:])
    assert loss == pytest.approx(losses[best], abs=1e-5)
    with pytest.raises(KeyboardInterrupt):
        stop = [At(2 * best + 1, interrupt)]
        fit(base, features[:4], tmp_path / "stopped", epochs=12, patience=2, callbacks=stop, **settings)
    resumed, again = fit(base, features[:4], tmp_path / "stopped", epochs=12, patience=2, **settings)
    assert (digest(resumed), again) == (digest(patient), curves)
    assert training.training_report(curves, features, sft, {}, {})["val_loss"]["after"] == losses[best]


def loss_of(model, rows):
    """The loss of a model on rows, by the rules of the objective."""
    with torch.no_grad():
        return (
            sft.loss(partial(sequence_logprobs, model.eval(), packed=False), rows, None) / sft.normaliser(rows)
        ).item()
