"""Whether each token that a text can contain has a row in the model's table."""

import json
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from refrain.chat import templates

TRIED = 1000  # tokens of the vocabulary beyond the table, each tried for whether a text yields it


def find_obstacles(folder: Path, rows: int) -> Iterator[str]:
    """Tokens that may come up and that the table, of so many rows, has no vector for."""
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises no other class
        yield f"tokenizer.json: it cannot be read ({error}); write it again with save_pretrained"
        return
    settings: dict[str, Any] = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    added, roles = tokenizer.get_added_tokens_decoder(), find_roles(settings)
    template = templates.find_template(folder, settings) or ""
    for number, token in sorted(added.items()):
        if number >= rows and (use := describe_use(token, roles, template)):
            yield (
                f"tokenizer.json: {token.content!r} has the id {number}, which {use}, but the table has {rows} rows; "
                "resize the model's embeddings to the tokenizer and save both"
            )
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    for piece, number in sorted(vocabulary.items(), key=itemgetter(1))[-TRIED:]:
        if number >= rows and number not in added and is_reachable(tokenizer, number):
            yield (
                f"tokenizer.json: {piece!r} has the id {number}, but the table has {rows} rows; "
                "fetch tokenizer and weights from one revision"
            )
            return


def find_roles(settings: dict[str, Any]) -> dict[str, str]:
    """Which token is which of bos_token, eos_token and so on."""
    named = {key: value for key, value in settings.items() if key.endswith("_token")}
    texts = {key: value["content"] if isinstance(value, dict) else value for key, value in named.items()}
    return {text: key for key, text in texts.items() if isinstance(text, str)}


def describe_use(token: AddedToken, roles: dict[str, str], template: str) -> str | None:
    """Where a token comes up; None for a control token that nothing writes, since one that is typed stays text."""
    if token.content in roles:
        return f"is the {roles[token.content]} of tokenizer_config.json"
    if token.content in template:
        return "the chat template writes"
    return None if token.special else "any text may contain"


def is_reachable(tokenizer: Tokenizer, number: int) -> bool:
    """Whether the tokenizer makes the token of the text that it stands for."""
    text = tokenizer.decode([number], skip_special_tokens=False)
    return number in tokenizer.encode(text, add_special_tokens=False).ids
