"""A stage run where a heavy import would give itself away."""

import resource

import pipeline_repository
from pipeline_repository import ROOT

from refrain.pipeline import params as launch

CONF = ROOT / "conf"


def run(folder, name, *arguments, fails=True):
    """What a stage of the workspace said in that folder, and the seconds for which it kept a processor busy."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = pipeline_repository.stage(folder, name, *arguments, fails=fails, PYTHONPATH=str(ROOT))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return said, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def composed(*overrides):
    return launch.to_config(launch.compose_with_hydra("config", CONF, list(overrides)))
