"""First on the path, this makes Python start as where refrain was installed without extras, which load for seconds."""

import sys

sys.modules.update(dict.fromkeys(("bitsandbytes", "comet_ml", "mlflow", "ray", "wandb")))
