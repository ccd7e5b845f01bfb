"""Trainings of a few steps, and what may happen in the middle of one."""

import hashlib
import signal

import presets
from transformers import TrainerCallback

from refrain.models.pytorch import loading
from refrain.training import fit as training
from refrain.training.objectives import sft

LORA, FULL = presets.lora(), presets.full()
DROPPING = presets.lora("method.adapter.dropout=0.2")


def fit(base, features, folder, held_out=(), method=FULL, seed=7, callbacks=(), objective=sft, **changes):
    """A trained model and its curves."""
    recipe = {"lr": 3e-3, "epochs": 3, "batch_size": 4, "warmup": 0.0, "schedule": "constant", **changes}
    folder.mkdir(exist_ok=True)
    model = loading.build_trainable(base, method, seed)
    done = training.train_model(model, features, list(held_out), objective, presets.train(**recipe), seed, folder,
                        callbacks=tuple(callbacks))  # fmt: skip
    return model, done


def digest(model):
    """One number for all weights, to the last bit."""
    return hashlib.md5(b"".join(weight.detach().numpy().tobytes() for weight in model.parameters())).hexdigest()


class At(TrainerCallback):
    """Does something in the middle of a step."""

    def __init__(self, step, act):
        self.step, self.act = step, act

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step == self.step - 1:
            self.act()


def interrupt():
    signal.raise_signal(signal.SIGTERM)


def die():
    raise RuntimeError("the lights went out")
