"""A tiny model that the commands open, and what it must say."""

import json
import shutil

import pytest
import traced_model

from refrain.chat import encoding
from refrain.chat.control_characters import escape_controls
from refrain.runtime import language_model, loading


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return traced_model.build(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture(scope="session")
def endless(model, tmp_path_factory):
    """The model with a context so large that no reply of it comes to an end."""
    folder = tmp_path_factory.mktemp("endless") / "model"
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 10**7}))
    return folder


@pytest.fixture(scope="session")
def said(model):
    """What the model must say, found without a stream: said("question", "reply", "next question")."""
    session, language = loading.load_model(model, threads=1), encoding.load_tokenizer(model)

    def reply(*turns, system=None, limit=12):
        roles = ["user", "assistant"] * len(turns)
        messages = [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]
        messages = [{"role": "system", "content": system}] * bool(system) + messages
        [ids] = language_model.greedy_decode(
            session, [encoding.encode_prompt(language, messages)], limit, language.stop_ids
        )
        return language.tokenizer.decode(ids).rstrip("\ufffd")  # a last character that was cut short

    return reply


@pytest.fixture
def shown(said):
    """The same as a terminal shows it."""
    return lambda *turns, **options: escape_controls(said(*turns, **options))
