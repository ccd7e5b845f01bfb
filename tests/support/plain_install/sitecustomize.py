"""First on the path, it makes Python start as where `refrain-lm[train]` alone is installed: other extras load slowly.

Nor does it look for garbage every 700 objects, which is a quarter of the time that imports take. Where it is told a
socket for it, a stage is a fork: see forked_python.py.
"""

import gc
import os
import sys

gc.disable()
sys.modules.update(dict.fromkeys(("bitsandbytes", "comet_ml", "mlflow", "ray", "wandb")))
if (door := os.environ.get("FORKED_STAGES")) and " ".join(sys.orig_argv[1:]).startswith("-m stages."):
    import forked_stage

    forked_stage.run(door)
