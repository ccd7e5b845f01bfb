"""What an exported model was trained from, as far as it is here and is the very same."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refrain.pipeline import manifest, paths
from refrain.pipeline.schema import PreferenceConfig

NEEDED = (paths.BASE, paths.ADAPTER, paths.PREPARED)


@dataclass(frozen=True)
class Origin:
    """Base, adapter and rows, with what names them, and the loss by which the rows were learned."""

    base: Path
    adapter: Path
    prepared: Path
    md5_by_path: dict[str, str]
    preference: PreferenceConfig | None
    starts_from_adapter: bool = False

    @property
    def key(self) -> str:
        """One name for all that the gradients of the rows depend on, but for libraries."""
        facts = json.dumps([self.md5_by_path, repr(self.preference)], sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()[:16]


def find_origin(made_of: dict[str, str], params: dict[str, Any]) -> Origin:
    """The folders of this repository, which must be what the manifest of a model names; ValueError says what to fetch.

    `params` are those of its training in dvc.lock; where they are unknown, supervised fine-tuning is taken for it.
    """
    if not made_of:
        raise ValueError(
            "no manifest beside the model says what it was trained from; `dvc get` brings a folder with it"
        )
    for place in NEEDED:
        if not place.is_dir():
            raise ValueError(f"{place}: it is not here; `dvc pull {' '.join(map(str, NEEDED))}` fetches what is needed")
        if manifest.dvc_md5(place) != made_of.get(str(place)):
            raise ValueError(f"{place}: it is not what this model was made of; `dvc checkout {place}` at the commit of "
                             "the model brings that back")  # fmt: skip
    method = params.get("method") or {}
    preference = method.get("preference")
    return Origin(
        *NEEDED,
        {str(place): made_of[str(place)] for place in NEEDED},
        None if preference is None else PreferenceConfig(**preference),
        method.get("init_adapter") is not None,
    )
