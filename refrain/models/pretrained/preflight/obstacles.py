"""All that stands in the way of a model folder, before a weight of it is read."""

import json
from collections.abc import Iterator
from pathlib import Path

from transformers import GenerationConfig

from refrain.models.pretrained import translation
from refrain.models.pretrained.preflight import (
    config_fields,
    forward_pass,
    model_class,
    tied_head,
    vocabulary,
    weights,
)
from refrain.models.pretrained.preflight.headers import read_headers
from refrain.models.pretrained.preflight.loading_report import load_on_meta


def require_none(reasons: list[str], where: str) -> None:
    """ValueError with the first obstacle, and how many more there are."""
    if reasons:
        more = f" (and {len(reasons) - 1} more: refrain inspect prints them)" if len(reasons) > 1 else ""
        raise ValueError(f"{where}: {reasons[0]}{more}")


def find_obstacles(folder: Path) -> list[str]:
    """Why the way is not open for the model in a folder, a sentence each; empty where it is."""
    return find_settings_obstacles(folder) or find_weight_obstacles(folder)


def find_settings_obstacles(folder: Path) -> list[str]:
    """The obstacles that can be seen without weights, in the files beside them."""
    if not (folder / "tokenizer_config.json").is_file():
        return ["tokenizer_config.json is missing, which names the end of a reply; save the tokenizer again"]
    try:
        values = translation.read_translated(folder)
        if reasons := list(config_fields.find_kind_obstacles(values)):
            return reasons
        config = model_class.build_config(values)
        model_class.find_class(config)
    except ValueError as error:
        return [str(error)]
    if reasons := list(config_fields.find_number_obstacles(config)):
        return reasons
    reasons = [
        *config_fields.find_shape_obstacles(config),
        *config_fields.find_rotary_obstacles(config),
        *find_generation_obstacles(folder),
    ]
    return reasons or list(forward_pass.find_obstacles(config))


def find_generation_obstacles(folder: Path) -> Iterator[str]:
    path = folder / "generation_config.json"
    if not path.is_file():
        return
    values = json.loads(path.read_text(encoding="utf-8"))
    yield from config_fields.find_id_obstacles(path.name, values)
    try:
        with model_class.quiet():
            GenerationConfig.from_dict(values)
    except Exception as error:  # from_pretrained would raise it too
        words = " ".join(str(error).split())
        yield f"generation_config.json: it cannot be read ({words}); repair it, or leave it out of a copy"


def find_weight_obstacles(folder: Path) -> list[str]:
    """The obstacles in the headers of the weights, and in the vocabulary beside them; its settings have none."""
    headers = read_headers(folder)
    try:
        report = load_on_meta(model_class.build_config(translation.read_translated(folder)), headers)
    except ValueError as error:
        return [str(error)]
    faults = [*weights.find_obstacles(report, headers), *tied_head.find_obstacles(folder, report, headers)]
    return faults or list(vocabulary.find_obstacles(folder, report.table.shape[0]))
