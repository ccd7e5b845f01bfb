"""Chat templates: Jinja as transformers runs it, in a sandbox and without a clock."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox

from refrain.chat.records import Message


def find_template(folder: Path, settings: dict[str, Any]) -> str | None:
    """The template of a model folder, in chat_template.jinja or in the settings of its tokenizer."""
    if (file := folder / "chat_template.jinja").is_file():
        return file.read_text(encoding="utf-8")
    listed = settings.get("chat_template")
    if isinstance(listed, list):
        return next((str(each["template"]) for each in listed if each["name"] == "default"), None)
    return listed


def render(template: str, messages: Sequence[Message], tokens: dict[str, str], reply: bool = False) -> str:
    """The conversation as text; `reply` opens the assistant's turn. ValueError when the template refuses it."""
    program = compile_template(template)
    try:
        nothing = {"tools": None, "documents": None}  # templates tell None from undefined, as transformers does
        return program.render(messages=messages, add_generation_prompt=reply, **nothing, **tokens)
    except jinja2.TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise ValueError(f"the chat template refuses a conversation of {roles}: {error}") from error


def end_marker(template: str, tokens: dict[str, str]) -> str:
    """What the template puts after a reply; ValueError if nothing, for then no model could learn to stop."""
    ask: list[Message] = [{"role": "user", "content": "a"}]
    opened = render(template, ask, tokens, reply=True)
    whole = render(template, [*ask, {"role": "assistant", "content": "Refrain"}], tokens)
    end = whole.removeprefix(opened).rpartition("Refrain")[2].strip()
    if not whole.startswith(opened) or not end:
        raise ValueError("the chat template puts no end marker after a reply; choose another: template=chatml")
    return end


@cache
def compile_template(template: str) -> jinja2.Template:
    """The template, ready to render; ValueError when it is no valid Jinja."""
    try:
        return jinja_environment().from_string(template)
    except jinja2.TemplateError as error:
        raise ValueError(f"the chat template is not valid Jinja: {error}") from error


def jinja_environment() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    """What chat templates expect to run in; no clock, so that a text never depends on the day."""
    result = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, Generation]
    )
    result.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    result.globals["raise_exception"] = refuse
    return result


def refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


class Generation(jinja2.ext.Extension):
    """`{% generation %}` marks the assistant's words in some templates; the words themselves pass through."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own declaration

    def parse(self, parser: Any) -> Any:
        """The statements between the two tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
