"""Where something is published: a repository of the Hub, or a folder."""

import re
from pathlib import Path

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HUB_SCHEME = "hf://"


def hub_name(text: str, folder: Path) -> str | None:
    """The repository that is meant by user/name or hf://user/name; None for a folder.

    ValueError where a text can mean both; `folder` is the one that it can mean.
    """
    if text.startswith(HUB_SCHEME):
        name = text.removeprefix(HUB_SCHEME).strip("/")
        if not HUB_NAME.fullmatch(name):
            raise ValueError(f"{text}: this is not the name of a repository; write it as {HUB_SCHEME}user/name")
        return name
    if "://" in text:
        raise ValueError(f"{text}: publish to a folder, or to a repository of the Hub as user/name")
    if not HUB_NAME.fullmatch(text):
        return None
    if folder.exists() or folder.parent.exists():
        raise ValueError(f"{text}: there is a folder {Path(text).parent}; write ./{text} for a folder in it, "
                         f"{HUB_SCHEME}{text} for a repository of the Hub")  # fmt: skip
    return text


def fetch_line(name: str | None) -> str:
    """How somebody gets a repository of the Hub; empty for a folder."""
    return "" if name is None else f"hf download {name} --local-dir {name.partition('/')[2]}"
