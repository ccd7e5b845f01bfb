"""Whether each token that a text can contain has a row in the model's table."""

from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Tokenizer

from refrain.chat import special_tokens, templates

TRIED = 1000  # tokens of the vocabulary beyond the table, each tried for whether a text yields it


def find_obstacles(folder: Path, rows: int) -> Iterator[str]:
    """Tokens that may come up and that the table, of so many rows, has no vector for."""
    try:
        tokenizer = special_tokens.read_tokenizer(folder)
    except ValueError as error:
        yield str(error).removeprefix(f"{folder}: ")
        return
    roles = {names[0].text: f"{role} of {names[0].file}" for role, names in special_tokens.find_names(folder).items()}
    try:
        template = templates.find_template(folder, special_tokens.read_settings(folder)) or ""
    except ValueError:  # it is refused where it is used
        template = ""
    added = tokenizer.get_added_tokens_decoder()
    for number, token in sorted(added.items()):
        if number >= rows and (use := describe_use(token, roles, template)):
            yield (
                f"tokenizer.json: {token.content!r} has the id {number}, which {use}, but the table has {rows} rows; "
                "resize the model's embeddings to the tokenizer and save both"
            )
    for token in special_tokens.list_added_tokens(folder):
        if tokenizer.token_to_id(token.content) is None and (use := describe_use(token, roles, template)):
            yield (
                f"tokenizer_config.json: added_tokens_decoder has {token.content!r}, which {use} and tokenizer.json "
                "does not have; save the tokenizer again with save_pretrained"
            )
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    beyond = sorted((number, piece) for piece, number in vocabulary.items() if number >= rows and number not in added)
    for number, piece in beyond[:TRIED]:
        if is_reachable(tokenizer, number):
            yield (
                f"tokenizer.json: {piece!r} has the id {number}, but the table has {rows} rows; "
                "fetch tokenizer and weights from one revision"
            )
            return


def describe_use(token: AddedToken, roles: dict[str, str], template: str) -> str | None:
    """Where a token comes up; None for a control token that nothing writes, since one that is typed stays text."""
    if token.content in roles:
        return f"is the {roles[token.content]}"
    if token.content in template:
        return "the chat template writes"
    return None if token.special else "any text may contain"


def is_reachable(tokenizer: Tokenizer, number: int) -> bool:
    """Whether the tokenizer makes the token of the text that it stands for."""
    text = tokenizer.decode([number], skip_special_tokens=False)
    return number in tokenizer.encode(text, add_special_tokens=False).ids
