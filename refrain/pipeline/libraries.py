"""Imports of torch, transformers and PEFT without what they load because it is installed: up to half of the time."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from refrain.pipeline.schema import MethodConfig, TrainConfig

# by module: who looks for it, and imports it if it is there
OPTIONAL = {
    "bitsandbytes": "PEFT",
    "boto3": "accelerate",
    "comet_ml": "transformers",
    "datasets": "transformers",
    "scipy": "transformers and NLTK",
    "sklearn": "transformers; it needs scipy",
}


@contextmanager
def importing(method: "MethodConfig | None" = None, train: "TrainConfig | None" = None) -> Iterator[None]:
    """What is imported inside finds no module of OPTIONAL, but what a training asks for or is loaded already.

    Afterwards each can be imported as ever, though transformers and PEFT remember that they did not find it. Python
    does not search for garbage in what is being loaded, nor later in what was loaded.
    """
    asked = [*asked_for(method, train)]
    hidden = [name for name in OPTIONAL if name not in sys.modules and name not in asked]
    sys.modules.update(dict.fromkeys(hidden, cast(ModuleType, None)))  # so Python looks no further
    was_searching = gc.isenabled()
    gc.disable()
    try:
        yield
        if "peft" in sys.modules:
            import_module("peft.import_utils").is_bnb_available()  # asked later for the first time, it would find it
    finally:
        for name in hidden:
            del sys.modules[name]
        gc.freeze()
        if was_searching:
            gc.enable()


def asked_for(method: "MethodConfig | None", train: "TrainConfig | None") -> Iterator[str]:
    """The modules of OPTIONAL that a training uses."""
    if method is not None and method.base_bits is not None:
        yield "bitsandbytes"
    if train is not None and "comet" in train.report_to:
        yield "comet_ml"
