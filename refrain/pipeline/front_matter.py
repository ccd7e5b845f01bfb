"""The YAML between two lines of dashes with which a card of the Hub begins, and the text below it."""

from pathlib import Path
from typing import Any

import yaml

CARD = "README.md"  # what the Hub calls the card of a model or of a data set
TERMS = ("LICENSE*", "LICENCE*", "NOTICE*", "COPYING*")  # files that go along with whatever is made of a model
MARK = "---"
LISTED = ("license", "language")  # fields that hold one value or several
OF_LICENSE = ("license_name", "license_link")


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """What the YAML says, and the text below; nothing of a text that has none, or none that can be read."""
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)
    marks = [number for number, line in enumerate(lines) if line.rstrip() == MARK]
    if len(marks) < 2 or marks[0] != 0:
        return {}, text
    try:
        metadata = yaml.safe_load("".join(lines[1 : marks[1]]))
    except (yaml.YAMLError, ValueError):
        return {}, text
    return (metadata, "".join(lines[marks[1] + 1 :])) if isinstance(metadata, dict) else ({}, text)


def join_front_matter(metadata: dict[str, Any], text: str) -> str:
    """A card: the YAML in the order of its keys, then the text."""
    dumped = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, default_flow_style=False, width=1000)
    return f"{MARK}\n{dumped}{MARK}\n\n{text.lstrip()}"


def read_terms(card: Path) -> dict[str, Any]:
    """What a card says of license and language, several of each in their order; empty where it says nothing."""
    if not card.is_file():
        return {}
    metadata, _ = split_front_matter(card.read_text(encoding="utf-8", errors="replace"))
    listed = {name: list_texts(metadata.get(name)) for name in LISTED}
    others = {name: str(metadata[name]) for name in OF_LICENSE if metadata.get(name)}
    return {name: values for name, values in listed.items() if values} | others


def list_texts(value: Any) -> list[str]:
    """One value or several as texts; YAML takes `no`, which is Norwegian, for false."""
    values = value if isinstance(value, list) else [value]
    return ["no" if each is False else str(each) for each in values if each is not None and each != ""]
