"""First on the path, it makes Python start as where `refrain[train]` alone is installed: other extras load slowly."""

import sys

sys.modules.update(dict.fromkeys(("bitsandbytes", "comet_ml", "mlflow", "ray", "wandb")))
