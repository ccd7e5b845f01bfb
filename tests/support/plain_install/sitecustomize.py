"""First on the path, it makes Python start as where `refrain-lm[train]` alone is installed: other extras load slowly.

Nor does it look for garbage every 700 objects, which is a quarter of the time that imports take.
"""

import gc
import sys

gc.disable()
sys.modules.update(dict.fromkeys(("bitsandbytes", "comet_ml", "mlflow", "ray", "wandb")))
