"""The card of what is published: the artifact's, with the files that lie beside it and how they are fetched."""

from collections.abc import Mapping

from refrain.evaluation.model_card import markdown
from refrain.evaluation.model_card.sections import SCORES
from refrain.pipeline import front_matter

FILES = "Files"


def with_files(card: str, sizes: Mapping[str, int], fetch: str) -> str:
    """The card with a section of these files, before anything else that has a heading."""
    metadata, text = front_matter.split_front_matter(card)
    rows = [(f"`{name}`", markdown.megabytes(size)) for name, size in sorted(sizes.items())]
    way = f"```sh\n{fetch}\n```" if fetch else ""
    section = markdown.section(FILES, way, markdown.table(("file", "size"), rows))
    start = text.find(markdown.HEADING)
    place = len(text) if start < 0 else start
    return front_matter.join_front_matter(metadata, text[:place] + section + text[place:])


def is_of_same_artifact(card: str, other: str) -> bool:
    """Whether two cards tell of the same files: all but their scores is equal."""
    return without_scores(card) == without_scores(other)


def without_scores(card: str) -> tuple[dict[str, object], str, str]:
    """The fields and the text of a card, in the parts before and behind its scores."""
    metadata, text = front_matter.split_front_matter(card)
    before, _, rest = text.partition(f"{markdown.HEADING}{SCORES}\n")
    behind = rest.partition(markdown.HEADING)[2]
    return {name: value for name, value in metadata.items() if name != "model-index"}, before, behind
