"""What conf/ says, with small models in mind: a few values changed, the others as a person gets them."""

from copy import deepcopy
from functools import cache

from places import ROOT

from refrain.pipeline import old_names, params
from refrain.pipeline.schema import Config, MethodConfig, TrainConfig

CONF = ROOT / "conf"
SMALL = ("method.adapter.rank=4", "method.adapter.alpha=8")


def options(group: str) -> list[str]:
    """What a group of conf/ offers, without names that are old."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml") if (group, file.stem) not in old_names.OPTIONS)


def config(*overrides: str) -> Config:
    """The configuration with these overrides, to be changed at will."""
    return deepcopy(compose(overrides))


@cache
def compose(overrides: tuple[str, ...]) -> Config:
    return params.to_config(params.compose_with_hydra("config", CONF, list(overrides)))


def lora(*overrides: str) -> MethodConfig:
    """The default method, with small matrices."""
    return config(*SMALL, *overrides).method


def full(*overrides: str) -> MethodConfig:
    """Every weight is trained."""
    return config("method=full", *overrides).method


def train(**values: object) -> TrainConfig:
    """The training section, with values changed."""
    return config(*(f"train.{name}={'null' if value is None else value}" for name, value in values.items())).train
