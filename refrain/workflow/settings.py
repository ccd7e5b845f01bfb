"""What may be given by keyword, under the names of the configuration, and what Hydra is told of it."""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from refrain.experiments.override_values import to_hydra
from refrain.pipeline import config_keys

Section = Mapping[str, Any]  # keys of a section of the configuration: {"rank": 8}


class SourceSettings(TypedDict, total=False):
    """How files of rows are read, as in `data.sources`; what is left out is found from the rows."""

    files: str
    sheet: str
    shape: str
    assistant: str
    split: str
    fields: dict[str, str]
    verdicts: dict[str, str]
    encoding: str
    delimiter: str
    quote: str
    escape: str
    header: bool
    revision: str


class DataSettings(SourceSettings, total=False):
    """What becomes of rows, as in `data`; docs/configuration.md says the defaults."""

    train_fraction: float
    val_fraction: float
    test_fraction: float
    max_tokens: int
    max_quarantined: float
    policies: Section
    leaks: Section
    augment: Section
    engine: str
    workers: int


class FinetuneSettings(TypedDict, total=False):
    """How is learned, as in `train`; sections of the method and of a tiny base; presets of template and launch."""

    lr: float
    epochs: float
    batch_size: int
    micro_batch_tokens: int
    packing: bool
    warmup: float
    schedule: str
    decay: float
    weight_decay: float
    patience: int | None
    precision: str | None
    gradient_checkpointing: bool
    compile: bool
    report_to: list[str]
    adapter: Section
    preference: Section
    tiny: Section
    template: str
    launch: str


class ExportSettings(TypedDict, total=False):
    """How is exported and proven, as in `export`."""

    graph: str | None
    opset: int
    best: str | None
    cost: Section
    prompts: int
    steps: int
    batch_size: int


SECTIONS = {"adapter": "method.adapter", "preference": "method.preference", "tiny": "model.tiny"}
PRESETS = ("template", "launch")


def data_overrides(given: Mapping[str, Any]) -> list[str]:
    """Overrides of `data` for the settings that are not of a source; ValueError for one that there is none of."""
    require_known(given, DataSettings.__annotations__)
    of_source = SourceSettings.__annotations__
    return list_overrides({place(key, "data"): value for key, value in given.items() if key not in of_source})


def finetune_overrides(given: Mapping[str, Any]) -> list[str]:
    """Overrides of `train`, `method`, `model.tiny`, `template` and `launch`."""
    require_known(given, FinetuneSettings.__annotations__)
    presets = [f"{key}={given[key]}" for key in PRESETS if key in given]
    values = {SECTIONS.get(key) or place(key, "train"): value for key, value in given.items() if key not in PRESETS}
    return presets + list_overrides(values)


def export_overrides(given: Mapping[str, Any]) -> list[str]:
    """Overrides of `export`."""
    require_known(given, ExportSettings.__annotations__)
    return list_overrides({place(key, "export"): value for key, value in given.items()})


def place(key: str, section: str) -> str:
    """Where a key stands in the configuration: one with a dot says so itself."""
    return key if "." in key else f"{section}.{key}"


def require_known(given: Iterable[str], known: Iterable[str]) -> None:
    """ValueError for a keyword that there is not, with the nearest that there is; one with a dot is any key's path."""
    names = list(known)
    for key in given:
        if "." not in key and key not in names:
            raise ValueError(config_keys.unknown_key("", key, names))


def list_overrides(values: Mapping[str, Any]) -> list[str]:
    """key=value as Hydra reads it, a section key by key."""
    result = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            result += list_overrides({f"{key}.{name}": item for name, item in value.items()})
        else:
            result.append(f"{key}={to_hydra(list(value) if isinstance(value, tuple) else value)}")
    return result
