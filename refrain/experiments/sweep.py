"""Search for the best values: every trial is a DVC experiment, its score the ROUGE-L of the variant that is shipped.

python -m refrain.experiments.sweep 'train.lr=interval(1e-3, 1e-2)' 'method=choice(lora, full)' hydra.sweeper.n_trials=8
"""

import json
import os
import subprocess
import sys
from datetime import datetime
from typing import Any, cast

import dvc.api
import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from refrain.pipeline import old_names, params, paths

STARTED = datetime.now()


@hydra.main(config_path="../../conf", config_name="sweep", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """One trial: the values of conf/ and those that are tried."""
    params.to_config(old_names.upgrade(cast(dict[str, Any], OmegaConf.to_container(cfg))))
    job = HydraConfig.get()
    return trial(f"sweep-{STARTED:%Y%m%d-%H%M%S}-{job.job.num}", list(job.overrides.task))


def trial(name: str, overrides: list[str]) -> float:
    """The score of the experiment with these overrides; ValueError if it fails.

    It runs in a temporary copy: the workspace stays as it is, whatever is tried.
    """
    settings = [word for override in overrides for word in ("-S", override)]
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", name, *settings]
    if subprocess.run(command).returncode != 0:
        raise ValueError(f"{name} with {' '.join(overrides)}: the experiment failed, as said above")
    return float(json.loads(dvc.api.read(str(paths.SUMMARY), rev=name))["rougeL"]["best"])


def start() -> None:
    """A search that cannot begin, or in which no trial succeeds, ends in one line and exit code 1."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # or Hydra would print where it happened, and exit by itself
    try:
        main()
    except (ValueError, HydraException) as error:
        sys.exit(f"sweep: {' '.join(str(error).split())}")


if __name__ == "__main__":
    start()
