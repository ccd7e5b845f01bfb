"""Chat templates: Jinja as transformers runs it, in a sandbox and without a clock."""

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

from refrain.chat.records import Message, Tool

FURTHER_TEMPLATES = "additional_chat_templates"  # a folder beside chat_template.jinja, of templates with names
OTHER = "choose another: template=chatml"
CLOCKS = {"strftime_now", "now", "utcnow", "datetime", "date", "today", "time"}
CHANCE = {"random", "lipsum"}  # a filter and a global of Jinja's
CLOCK_REASON = f"the chat template asks for the date, which would change the text each day; {OTHER}"
WORDS = "Refrain"  # of a reply to try a template with
QUESTION: Message = {"role": "user", "content": "a"}
REPLY: Message = {"role": "assistant", "content": WORDS}


class TemplateRefusalError(ValueError):
    """A conversation that the template does not take, in the template's own words."""


def find_template(folder: Path, settings: dict[str, Any]) -> str | None:
    """The template of a model folder, in chat_template.jinja and beside it or in the settings of its tokenizer."""
    template = settings.get("chat_template")
    if (file := folder / "chat_template.jinja").is_file():
        files = {path.stem: path for path in sorted((folder / FURTHER_TEMPLATES).glob("*.jinja"))} | {"default": file}
        template = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    if isinstance(template, list):
        with suppress(KeyError, TypeError):
            template = {entry["name"]: entry["template"] for entry in template}
    match template:
        case None | str():
            return template
        case {"default": str(plain), "tool_use": str(with_tools)}:
            return combine_templates(plain, with_tools)
        case {"default": str(plain)}:
            return plain
        case dict():
            named = ", ".join(map(str, template))
            raise ValueError(f"{folder}: of the chat templates of the model ({named}) none is the default; {OTHER}")
    raise ValueError(
        f"{folder}: chat_template of tokenizer_config.json is neither a text nor texts with names; {OTHER}"
    )


def combine_templates(plain: str, with_tools: str) -> str:
    """One template that is the second where there are tools, as transformers chooses between them, else the first."""
    first, second = with_tools.removesuffix("\n"), plain.removesuffix("\n")
    return "{% if tools +%}" + first + "{%+ else +%}" + second + "{%+ endif +%}"


def render_template(
    template: str,
    messages: Sequence[Message],
    special_tokens: dict[str, str],
    add_generation_prompt: bool = False,
    tools: Sequence[Tool] | None = None,
) -> str:
    """The conversation as text; `add_generation_prompt` opens the assistant's turn. TemplateRefusalError if refused."""
    program = compile_template(template)
    try:
        given = {"tools": tools or None, "documents": None}  # templates tell None from undefined, as transformers does
        return program.render(messages=messages, add_generation_prompt=add_generation_prompt, **given, **special_tokens)
    except jinja2.UndefinedError as error:
        name = str(error).partition("' is undefined")[0].strip("'")
        if name in CLOCKS:
            raise ValueError(CLOCK_REASON) from error
        if name.endswith("_token"):
            raise ValueError(f"the chat template writes {name}, which the tokenizer does not name; {OTHER}") from error
        raise refuse_conversation(messages, error) from error
    except (
        jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, RecursionError, ArithmeticError
    ) as error:  # fmt: skip
        raise refuse_conversation(messages, error) from error


def refuse_conversation(messages: Sequence[Message], error: Exception) -> TemplateRefusalError:
    """The template's own words."""
    roles = ", ".join(message["role"] for message in messages)
    return TemplateRefusalError(f"the chat template refuses a conversation of {roles}: {error}")


def find_end_marker(template: str, special_tokens: dict[str, str]) -> str:
    """What the template puts after a reply; ValueError if nothing, for then no model could learn to stop."""
    marker = render_reply(template, special_tokens).rpartition(WORDS)[2].strip()
    if not marker:
        raise ValueError(f"the chat template puts no end marker after a reply; {OTHER}")
    return marker


def render_reply(template: str, special_tokens: dict[str, str]) -> str:
    """A question and its reply; ValueError where the reply's words are not in it."""
    text = render_template(template, [QUESTION, REPLY], special_tokens)
    if WORDS not in text:
        raise ValueError(f"the chat template does not write the words of a reply as they are; {OTHER}")
    return text


def find_opening(template: str, special_tokens: dict[str, str]) -> str:
    """What the template itself writes between the prompt of a reply and its words, as Qwen3's does an empty thought.

    A blank right before the words is no part of it: tokenizers make one token of it and the first word.
    """
    prompt = render_template(template, [QUESTION], special_tokens, add_generation_prompt=True)
    text = render_reply(template, special_tokens)
    if not text.startswith(prompt):
        raise ValueError(describe_other_prompt(prompt, text))
    return text[len(prompt) :].partition(WORDS)[0].rstrip(" ")


def describe_other_prompt(prompt: str, text: str) -> str:
    """Why a reply that is written as in `text` would be learned behind other words than it is asked with."""
    shared = count_shared(prompt, text)
    return (f"the chat template asks for a reply with {prompt[shared:]!r}, where it writes {text[shared:][:20]!r} "
            f"of a reply that is there, so it would be learned otherwise than asked; {OTHER}")  # fmt: skip


def count_shared(first: str, second: str) -> int:
    """How many characters two texts begin alike with."""
    pairs = zip(first, second, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def complete_prompt(template: str, special_tokens: dict[str, str]) -> str:
    """The template with its opening in the generation prompt, so that every runtime asks for the words themselves."""
    if not (opening := find_opening(template, special_tokens)):
        return template
    prompt = render_template(template, [QUESTION], special_tokens, add_generation_prompt=True)
    literal = json.dumps(opening, ensure_ascii=False)
    for completed in (
        "{% if enable_thinking is not defined %}{% set enable_thinking = false %}{% endif %}" + template,
        template.removesuffix("\n") + "{% if add_generation_prompt %}{{ " + literal + " }}{% endif %}",
    ):
        asked = render_template(completed, [QUESTION], special_tokens, add_generation_prompt=True)
        text = render_template(completed, [QUESTION, REPLY], special_tokens)
        if asked == prompt + opening and text.startswith(asked):
            return completed
    raise ValueError(f"the chat template writes {opening!r} before a reply and cannot ask for one with it; {OTHER}")


def begin_with(token: str, template: str, special_tokens: dict[str, str]) -> str:
    """The template with a begin token before its text, unless it writes the token itself."""
    if render_template(template, [QUESTION], special_tokens).startswith(token):
        return template
    return "{{ " + json.dumps(token, ensure_ascii=False) + " }}" + template


def check_template(template: str, special_tokens: dict[str, str]) -> list[str]:
    """Why no row at all could be learned with a template, in sentences; none where nothing is wrong."""
    system: Message = {"role": "system", "content": WORDS}
    try:
        complete_prompt(template, special_tokens)
        find_end_marker(template, special_tokens)
        for messages in ([system, QUESTION], [system, QUESTION, REPLY], [QUESTION, REPLY, QUESTION, REPLY]):
            with suppress(TemplateRefusalError):  # rows of such turns may be none
                render_template(template, messages, special_tokens)
    except TemplateRefusalError as error:
        return [f"{error}; {OTHER}"]
    except ValueError as error:
        return [str(error)]
    return []


def accepts_roles(template: str, special_tokens: dict[str, str], roles: Sequence[str]) -> bool:
    """Whether the template takes a conversation of these roles, and says what each of them said."""
    words = [f"words{turn}" for turn in range(len(roles))]
    messages: list[Message] = [{"role": role, "content": text} for role, text in zip(roles, words, strict=True)]
    try:
        text = render_template(template, messages, special_tokens)
    except TemplateRefusalError:
        return False
    return all(each in text for each in words)


def read_names(template: str) -> set[str]:
    """Every name that a template may ask a message for: attributes, and texts."""
    tree = jinja_environment().parse(template)
    constants = {part.value for part in tree.find_all(jinja2.nodes.Const) if isinstance(part.value, str)}
    return constants | {part.attr for part in tree.find_all(jinja2.nodes.Getattr)}


@cache
def compile_template(template: str) -> jinja2.Template:
    """The template, ready to render; ValueError when it is no valid Jinja."""
    environment = jinja_environment()
    try:
        tree = environment.parse(template)
        if any(
            getattr(part, "name", None) in CHANCE for part in tree.find_all((jinja2.nodes.Filter, jinja2.nodes.Name))
        ):
            raise ValueError(f"the chat template draws by chance, which would change the text each time; {OTHER}")
        program = environment.from_string(tree)
    except jinja2.TemplateError as error:
        raise ValueError(f"the chat template is not valid Jinja: {error}; {OTHER}") from error
    program.globals = dict(program.globals)  # Jinja copies them each time, and its ChainMap item by item
    return program


def jinja_environment() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    """What chat templates expect to run in; no clock, so that a text never depends on the day."""
    result = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, GenerationTag]
    )
    result.filters["tojson"] = json_text
    result.globals["raise_exception"] = raise_exception
    return result


def json_text(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as transformers writes it in a template, whose characters are no entities of HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


class GenerationTag(jinja2.ext.Extension):
    """`{% generation %}` marks the assistant's words in some templates; the words themselves pass through."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own declaration

    def parse(self, parser: Any) -> Any:
        """The statements between the two tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
