"""The cards of the sources: what is published beside the rows about license and language."""

from pathlib import Path
from typing import Any

from refrain.pipeline import front_matter, paths


def card_of(linked: Path, name: str) -> Path:
    """Where the compose stage links the card of a source, by the name of the link to its rows."""
    return linked / paths.CARDS / name / front_matter.CARD


def read_cards(linked: Path) -> dict[str, dict[str, Any]]:
    """License and language of each source, and of the base's corpus, whose card says them, for the report."""
    cards = {card.parent.name: front_matter.read_terms(card) for card in sorted((linked / paths.CARDS).glob("*/*"))}
    return {name: terms for name, terms in cards.items() if terms}
