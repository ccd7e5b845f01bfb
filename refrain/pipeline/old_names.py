"""Names that keys and options of conf/ had before, accepted for one release: read as the new ones, and said."""

import re
from functools import cache
from typing import Any

KEYS = {
    "data.leaks.near": "data.leaks.near_duplicate_threshold",
    "data.leaks.run": "data.leaks.ngram_size",
    "data.leaks.contamination": "data.leaks.contamination_ngram",
    "train.micro_tokens": "train.micro_batch_tokens",
    "method.start": "method.init_adapter",
    "export.variants.*.bars": "export.variants.*.thresholds",
}
RETIRED = {  # keys whose meaning is no more, and what asks for the same today
    "merge.tolerance": "merge.relative_logits, in standard deviations of a position's logits",
    "export.variants.*.thresholds.logits": "relative_logits beside it, in standard deviations of a position's logits",
}
OPTIONS = {("template", "own"): "default", ("launch", "one"): "single"}
ANY = r"\*"  # the * of a key, escaped
MISSING = "???"  # what conf/old_names.yaml holds, so that -S finds the key


def rename_override(override: str) -> str:
    """An override of the command line under the names of today."""
    key, equals, value = override.partition("=")
    if new := OPTIONS.get((key, value)):
        mention(override, f"{key}={new}")
        return f"{key}={new}"
    for old, new in KEYS.items():
        if old.partition("*")[0] not in key:  # most keys: no pattern need be made
            continue
        pattern = re.escape(old).replace(ANY, "([^.=]+)")
        if match := re.match(rf"([+~]*){pattern}(?=$|[.=])", key):
            mention(old, new)
            name = str(match.group(match.lastindex or 0))
            key = f"{match.group(1)}{new.replace('*', name)}{key[match.end() :]}"
            break
    for old, today in RETIRED.items():
        if old.partition("*")[0] in key and re.fullmatch(rf"[+~]*{re.escape(old).replace(ANY, '[^.=]+')}", key):
            raise ValueError(f"{override}: its meaning is no more; set {today}")
    return f"{key}{equals}{value}"


def upgrade(params: dict[str, Any]) -> dict[str, Any]:
    """The same values under the names of today; a value under an old name wins over the default of the new one."""
    for old, new in KEYS.items():
        move_value(params, old.split("."), new.split(".")[-1], (old, new))
    for old, today in RETIRED.items():
        remove_value(params, old.split("."), today)
    for (group, old), new in OPTIONS.items():
        section = params.get(group)
        if isinstance(section, dict) and section.get("name") == old:
            mention(f"{group}={old}", f"{group}={new}")
            section["name"] = new
    return params


def move_value(section: Any, path: list[str], new: str, names: tuple[str, str]) -> None:
    """Put the value at `path` under its new last name, in every section that a * stands for."""
    name, *deeper = path
    if not isinstance(section, dict):
        return
    if name == "*":
        for key, part in list(section.items()):
            move_value(part, deeper, new, names)
            if part == {}:  # there was nothing in it but what conf/old_names.yaml holds
                del section[key]
    elif deeper:
        move_value(section.get(name), deeper, new, names)
    elif is_set(value := without_missing(section.pop(name, MISSING))):
        mention(*names)
        section[new] = {**section.get(new, {}), **value} if isinstance(value, dict) else value


def remove_value(section: Any, path: list[str], today: str) -> None:
    """Take out the value at `path`, in every section that a * stands for, and say so."""
    name, *deeper = path
    if not isinstance(section, dict):
        return
    if deeper:
        for part in section.values() if name == "*" else [section.get(name)]:
            remove_value(part, deeper, today)
    elif name in section:
        warn("%s=%s is not read any more; there is %s", name, section.pop(name), today)


def without_missing(value: Any) -> Any:
    """A section without the entries that have no value."""
    return {key: item for key, item in value.items() if item != MISSING} if isinstance(value, dict) else value


def is_set(value: Any) -> bool:
    return value not in (MISSING, {})


@cache
def mention(old: str, new: str) -> None:
    """Say once that a name is an old one."""
    warn("%s is now called %s; the old name is accepted for one release", old, new)


def warn(sentence: str, *values: object) -> None:
    """Say it as a warning."""
    import logging  # a stage that is refused for a name waits for nothing that logs

    logging.getLogger(__name__).warning(sentence, *values)
