"""What a reply must match, in whichever of the usual fields a request says so."""

import json
from typing import Any, NamedTuple

from refrain.serving.api.fields import OutputFields, ResponseFormat, StructuredOutputs
from refrain.serving.errors import ApiError, invalid_value


class GrammarSource(NamedTuple):
    """What a grammar is compiled from, and the field that it came in."""

    kind: str  # schema, regex or lark
    text: str
    param: str


def find_grammar(output: OutputFields) -> GrammarSource | None:
    """The one thing that a reply must match, None where it is free; ApiError 400 where a request names two."""
    sources = [
        *response_format(output.response_format),
        *structured_outputs(output.structured_outputs or StructuredOutputs(), "structured_outputs."),
        *structured_outputs(
            StructuredOutputs(json=output.guided_json, regex=output.guided_regex, choice=output.guided_choice),
            "guided_",
        ),
    ]
    if len(sources) > 1:
        names = " and ".join(source.param for source in sources)
        raise invalid_value(sources[1].param, f"{names}: a reply can be held to one of them; give one")
    return sources[0] if sources else None


def response_format(given: ResponseFormat | None) -> list[GrammarSource]:
    """That of OpenAI's field."""
    if given is None or given.type == "text":
        return []
    if given.type == "json_object":
        return [schema_source(given.schema or {"type": "object"}, "response_format")]
    place = "response_format.json_schema.schema"
    if given.json_schema is None or given.json_schema.schema is None:
        raise invalid_value(place, f"{place}: it is missing; give the JSON schema, or the type json_object")
    return [schema_source(given.json_schema.schema, place)]


def structured_outputs(given: StructuredOutputs, prefix: str) -> list[GrammarSource]:
    """Those of vLLM's fields."""
    sources = []
    if given.json is not None:
        sources.append(schema_source(parse_schema(given.json, f"{prefix}json"), f"{prefix}json"))
    if given.regex is not None:
        sources.append(GrammarSource("regex", given.regex, f"{prefix}regex"))
    if given.choice is not None:
        if not given.choice or "" in given.choice:
            raise invalid_value(f"{prefix}choice", f"{prefix}choice: there is nothing to choose; give texts")
        sources.append(GrammarSource("lark", f"start: {alternatives(given.choice)}", f"{prefix}choice"))
    return sources


def schema_source(schema: dict[str, Any], param: str) -> GrammarSource:
    """A schema as text, in its order, which is that of the properties in a reply."""
    return GrammarSource("schema", json.dumps(schema), param)


def parse_schema(given: dict[str, Any] | str, param: str) -> dict[str, Any]:
    """A schema that may be written as text."""
    try:
        schema = json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError) as error:
        raise invalid_schema(param, f"it is not JSON ({error}); give a JSON schema") from error
    if not isinstance(schema, dict):
        raise invalid_schema(param, "it is no object; give a JSON schema")
    return schema


def invalid_schema(param: str, reason: str) -> ApiError:
    """400 for what no grammar can be made of."""
    return ApiError(400, "invalid_schema", f"{param}: {reason}", param)


def alternatives(texts: list[str]) -> str:
    """One of the texts, as a rule of a Lark grammar."""
    return " | ".join(json.dumps(text, ensure_ascii=False) for text in dict.fromkeys(texts))
