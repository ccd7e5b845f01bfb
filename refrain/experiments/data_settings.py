"""How files are read that a person names: by the keys of a source that are given, and by conf/ where there is one."""

import importlib.util
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from refrain.data.row_preparer import NO_AUGMENTATION
from refrain.experiments.override_values import to_hydra
from refrain.pipeline import paths
from refrain.pipeline.schema import Config, DataConfig, LeakConfig, Policies, SourceConfig
from refrain.pipeline.validation import POLICIES, data_problems

MAX_QUARANTINED = 0.2  # as in conf/, where there is none


KEYWORDS = {"null": None, "true": True, "false": False}


SOURCE_KEYS = tuple(field.name for field in fields(SourceConfig) if field.name != "path")


def is_setting(argument: str) -> bool:
    """Whether an argument is key=value, and no file that happens to be called so."""
    key, equals, _ = argument.partition("=")
    return bool(equals) and key.replace(".", "").replace("_", "").isalnum() and not Path(argument).exists()


def make_sources(paths: list[str], settings: list[str]) -> list[SourceConfig]:
    """A source for each path, or one of the Hub; ValueError where there is neither."""
    if not paths and not any(setting.startswith("hub=") for setting in settings):
        raise ValueError(f"{' '.join(settings)}: name a file of rows before it")
    return [make_source(path, settings) for path in paths or [""]]


def make_source(path: str, settings: list[str]) -> SourceConfig:
    """A file with the keys of a source that are set, such as shape=qa and fields.question=Frage."""
    values: dict[str, Any] = {}
    for setting in settings:
        key, _, text = setting.partition("=")
        name, _, part = key.partition(".")
        kind = get_type_hints(SourceConfig)[name]
        if part and kind == dict[str, str]:
            values.setdefault(name, {})[part] = text
        elif part or kind == dict[str, str]:
            raise ValueError(f"{setting}: write {name if part else f'{name}.our_name'}=...")
        else:
            value = KEYWORDS.get(text, text)
            values[name] = text if isinstance(value, bool) and "bool" not in str(kind) else value
    return SourceConfig(path, **values)


def is_source_key(setting: str) -> bool:
    """Whether a setting is of a source; ValueError when it is none of the configuration either."""
    section = setting.partition("=")[0].partition(".")[0]
    if section not in SOURCE_KEYS and section not in {field.name for field in fields(Config)}:
        raise ValueError(f"{setting}: a source has no key {section}; it has {', '.join(SOURCE_KEYS)}")
    return section in SOURCE_KEYS


def is_repository() -> bool:
    """Whether conf/ of Refrain is here, and what reads it is installed."""
    return (paths.CONF / "data/files.yaml").is_file() and importlib.util.find_spec("hydra") is not None


def source_overrides(sources: list[SourceConfig]) -> list[str]:
    """What reads these sources in a run: the values that are given, as -S takes them."""
    defaults = vars(SourceConfig())
    given = [{name: value for name, value in vars(source).items() if value != defaults[name]} for source in sources]
    return ["data=files", f"data.sources={to_hydra(given)}"]


def read_data_config(sources: list[SourceConfig], overrides: list[str]) -> tuple[DataConfig, int]:
    """How prepare would read the sources, and its seed: by conf/, and elsewhere by the first choice of each policy.

    Elsewhere no row is drawn for val or test, and near copies are not looked for.
    """
    if is_repository():
        from refrain.experiments.compose import compose_params
        from refrain.pipeline.params import to_config

        cfg = to_config(compose_params([*source_overrides(sources), *overrides]))
        return cfg.data, cfg.seed
    for override in overrides:
        raise ValueError(f"{override}: there is no conf/ here that it could change, and a file is read by "
                         f"{', '.join(SOURCE_KEYS)}; go to a repository of Refrain")  # fmt: skip
    policies = Policies(**{name: choices[0] for name, choices in POLICIES.items()}, pii=[])
    data = DataConfig(
        name="files",
        folder=".",
        sources=sources,
        val_fraction=0.0,
        test_fraction=0.0,
        train_fraction=1.0,
        max_tokens=1,  # nothing is measured
        max_quarantined=MAX_QUARANTINED,
        policies=policies,
        leaks=LeakConfig(near_duplicate_threshold=None, ngram_size=1, contamination_ngram=None),
        augment=NO_AUGMENTATION,
        engine="local",
        workers=None,
    )
    for sentence in data_problems(data):
        raise ValueError(sentence)
    return data, 0
