"""Search for the best values: every trial is a DVC experiment, its score the ROUGE-L of the variant that is shipped.

python -m refrain.experiments.sweep 'train.lr=interval(1e-3, 1e-2)' 'method=choice(lora, full)' hydra.sweeper.n_trials=8
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import dvc.api
import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from refrain.experiments.text_tables import text_table
from refrain.pipeline import old_names, params, paths

STARTED = datetime.now()


@dataclass(frozen=True)
class Trial:
    """What became of the values that were tried."""

    name: str
    values: list[str]
    score: float | None  # None: it died
    reason: str = ""


TRIALS: list[Trial] = []  # of this search, for Hydra keeps the scores to itself


@hydra.main(config_path="../../conf", config_name="sweep", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """One trial: the values of conf/ and those that are tried."""
    job = HydraConfig.get()
    name, values = f"sweep-{STARTED:%Y%m%d-%H%M%S}-{job.job.num}", list(job.overrides.task)
    try:
        params.to_config(old_names.upgrade(cast(dict[str, Any], OmegaConf.to_container(cfg))))
        score = run_trial(name, values)
    except ValueError as error:
        TRIALS.append(Trial(name, values, None, " ".join(str(error).split())))
        raise
    TRIALS.append(Trial(name, values, score))
    return score


def run_trial(name: str, overrides: list[str]) -> float:
    """The score of the experiment with these overrides; ValueError with the reason if it fails.

    It runs in a temporary copy: the workspace stays as it is, whatever is tried.
    """
    settings = [word for override in overrides for word in ("-S", override)]
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", name, *settings]
    if subprocess.run(command).returncode != 0:
        file = paths.reason_file(name)
        raise ValueError(file.read_text(encoding="utf-8") if file.is_file() else "it failed, as said above")
    return float(json.loads(dvc.api.read(str(paths.SUMMARY), rev=name))["rougeL"]["best"])


def describe_trials(trials: list[Trial]) -> str:
    """Every trial, the best first and those that died last, and what the best was chosen from."""
    scored = sorted((trial for trial in trials if trial.score is not None), key=lambda trial: -(trial.score or 0))
    died = [trial for trial in trials if trial.score is None]
    rows = [(trial.name, " ".join(trial.values), f"{trial.score:.4f}") for trial in scored]
    rows += [(trial.name, " ".join(trial.values), f"died: {trial.reason}") for trial in died]
    sentence = f"no trial of {len(trials)} has a score, so none is the best"
    if scored:
        sentence = f"the best of {len(scored)} with a score is {scored[0].name}"
    if scored and died:
        names = ", ".join(trial.name for trial in died)
        sentence += f"; {len(died)} died, and may have been better: {names}; put right what is said there, search again"
    return f"\n{text_table(rows)}\nsweep: {sentence}"


def start() -> None:
    """A search ends with all of its trials; one that cannot begin, or has no score at all, with exit code 1."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # or Hydra would print where it happened, and exit by itself
    try:
        main()
    except (ValueError, HydraException) as error:
        if TRIALS and all(trial.score is None for trial in TRIALS):  # Optuna says so in other words
            sys.exit(describe_trials(TRIALS))
        sys.exit(f"sweep: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        print(f"{describe_trials(TRIALS)}\nsweep: interrupted; started again, it takes finished trials from the cache")
        sys.exit(130)
    print(describe_trials(TRIALS))


if __name__ == "__main__":
    start()
