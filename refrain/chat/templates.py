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
    template = settings.get("chat_template")
    if isinstance(template, list):
        return next((str(entry["template"]) for entry in template if entry["name"] == "default"), None)
    return template


def render_template(
    template: str, messages: Sequence[Message], special_tokens: dict[str, str], add_generation_prompt: bool = False
) -> str:
    """The conversation as text; `reply` opens the assistant's turn. ValueError when the template refuses it."""
    program = compile_template(template)
    try:
        absent = {"tools": None, "documents": None}  # templates tell None from undefined, as transformers does
        return program.render(
            messages=messages, add_generation_prompt=add_generation_prompt, **absent, **special_tokens
        )
    except jinja2.TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise ValueError(f"the chat template refuses a conversation of {roles}: {error}") from error


def find_end_marker(template: str, special_tokens: dict[str, str]) -> str:
    """What the template puts after a reply; ValueError if nothing, for then no model could learn to stop."""
    question: list[Message] = [{"role": "user", "content": "a"}]
    prompt = render_template(template, question, special_tokens, add_generation_prompt=True)
    text = render_template(template, [*question, {"role": "assistant", "content": "Refrain"}], special_tokens)
    marker = text.removeprefix(prompt).rpartition("Refrain")[2].strip()
    if not text.startswith(prompt) or not marker:
        raise ValueError("the chat template puts no end marker after a reply; choose another: template=chatml")
    return marker


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
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, GenerationTag]
    )
    result.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    result.globals["raise_exception"] = raise_exception
    return result


def raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


class GenerationTag(jinja2.ext.Extension):
    """`{% generation %}` marks the assistant's words in some templates; the words themselves pass through."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own declaration

    def parse(self, parser: Any) -> Any:
        """The statements between the two tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
