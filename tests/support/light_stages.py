"""A stage run where a heavy import would give itself away."""

import resource

import pipeline_repository
from pipeline_repository import ROOT

from refrain.pipeline import params as launch

CONF = ROOT / "conf"


def run(folder, name, *arguments, fails=True, **environment):
    """What a stage of the workspace said in that folder, and the seconds for which it kept a processor busy."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = pipeline_repository.stage(folder, name, *arguments, fails=fails, PYTHONPATH=str(ROOT), **environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return said, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def modules(folder, name, *arguments, **settings):
    """What a stage said in that folder, and the modules that it loaded, by Python's own record of imports."""
    lines = run(folder, name, *arguments, **settings, PYTHONPROFILEIMPORTTIME="1")[0].splitlines(keepends=True)
    record = [line for line in lines if line.startswith("import time:")]
    return "".join(line for line in lines if line not in record), {line.rpartition("|")[2].strip() for line in record}


def composed(*overrides):
    return launch.to_config(launch.compose_with_hydra("config", CONF, list(overrides)))
