"""What people call a split, and the one that the name of a file says, such as train-00000-of-00002.parquet."""

import re
from pathlib import PurePosixPath

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing", "holdout"), "test"),
}


def split_of(name: str) -> str | None:
    """The split at the beginning or the end of a file's name, or else of the name of the folder that it is in.

    None when there is none, or there are two.
    """
    for part in reversed(PurePosixPath(name).parts):
        words = split_words(part)
        if splits := {SPLIT_NAMES[word] for word in (*words[:1], *words[-1:]) if word in SPLIT_NAMES}:
            return splits.pop() if len(splits) == 1 else None
    return None


def is_split(name: str) -> bool:
    """Whether a file is called by a split and nothing else."""
    words = split_words(name)
    return len(words) == 1 and words[0] in SPLIT_NAMES


def split_words(name: str) -> list[str]:
    """The words of a name without its endings and the numbers of a shard."""
    return [word for word in re.split(r"[\W_\d]+", name.partition(".")[0].lower()) if word not in ("", "of")]
