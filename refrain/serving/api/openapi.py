"""The API as an OpenAPI document: the routes that there are, with what they take and answer, from the Structs."""

import inspect
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from starlette.routing import BaseRoute, Route

from refrain.serving.api import answers
from refrain.serving.api.fields import ChatFields, ChatMessage, CompletionFields, OutputFields, SamplingFields
from refrain.serving.api.other_fields import ALIASES, IGNORED, NEUTRAL
from refrain.serving.api.own_fields import FeedbackFields, TrainingRowsFields
from refrain.serving.api.response_fields import ResponseFields
from refrain.serving.api.tokens import DetokenizeFields, TokenizeFields
from refrain.serving.api.tools import ToolDefinition

Schema = dict[str, Any]
Groups = Sequence[type[msgspec.Struct]]
REFERENCE = "#/components/schemas/{name}"
JSON, EVENTS = "application/json", "text/event-stream"


class Operation(NamedTuple):
    """What a route takes and answers: groups of fields, a Struct, and that of the events of its stream."""

    takes: Groups
    answers: type[msgspec.Struct] | None = None
    streams: type[msgspec.Struct] | None = None


OPERATIONS = {
    "/v1/chat/completions": Operation(
        (ChatFields, OutputFields, SamplingFields), answers.ChatCompletion, answers.ChatCompletionChunk
    ),
    "/v1/completions": Operation(
        (CompletionFields, OutputFields, SamplingFields), answers.Completion, answers.Completion
    ),
    "/v1/models": Operation((), answers.ModelList),
    "/v1/models/{model}": Operation((), answers.Model),
    "/tokenize": Operation((TokenizeFields,), answers.Tokens),
    "/detokenize": Operation((DetokenizeFields,), answers.Text),
    "/apply-template": Operation((ChatFields, OutputFields, SamplingFields), answers.Template),
    "/v1/responses": Operation((ResponseFields, SamplingFields)),
    "/v1/refrain/training-rows": Operation((TrainingRowsFields,)),
    "/v1/refrain/feedback": Operation((FeedbackFields,)),
}


def describe_api(routes: Iterable[BaseRoute], version: str) -> Schema:
    """The document of these routes; one that OPERATIONS does not know takes and answers anything."""
    listed = [route for route in routes if isinstance(route, Route)]
    kinds = [kind for each in OPERATIONS.values() for kind in (*each.takes, each.answers, each.streams) if kind]
    _, components = msgspec.json.schema_components(
        [*kinds, answers.Error, ChatMessage, ToolDefinition], ref_template=REFERENCE
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Refrain", "version": version},
        "paths": {path: item for route in listed for path, item in [describe_route(route, components)]},
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def describe_route(route: Route, components: dict[str, Schema]) -> tuple[str, Schema]:
    """The path of a route, and its operations by their methods."""
    path = route.path.replace(":path}", "}").replace(":int}", "}")
    operation = OPERATIONS.get(path)
    methods = sorted(method.lower() for method in (route.methods or {"GET"}) - {"HEAD"})
    names = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
    described: Schema = {"summary": summarise(route.endpoint)}
    if names:
        described["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    failure = {"description": "A refusal, or a failure.", "content": {JSON: {"schema": reference("Error")}}}
    described["responses"] = {"200": describe_answer(operation), "default": failure}
    if operation is not None and operation.takes:
        body = {"required": True, "content": {JSON: {"schema": merge_groups(operation.takes, components)}}}
        described["requestBody"] = body
    handlers = getattr(route.endpoint, "handlers", {})
    summaries = {method.lower(): {"summary": summarise(handler)} for method, handler in handlers.items()}
    return path, {method: described | summaries.get(method, {}) for method in methods}


def summarise(endpoint: Any) -> str:
    """The first line of what is written of an endpoint, or of its module."""
    return (inspect.getdoc(endpoint) or inspect.getdoc(inspect.getmodule(endpoint)) or "").partition("\n")[0]


def describe_answer(operation: Operation | None) -> Schema:
    """What comes where nothing is amiss."""
    if operation is None or operation.answers is None:
        return {"description": "The answer."}
    content: Schema = {JSON: {"schema": reference(operation.answers.__name__)}}
    if operation.streams is not None:
        event = {"contentMediaType": JSON, "contentSchema": reference(operation.streams.__name__)}
        content[EVENTS] = {"schema": {"type": "string", "description": "Lines of data, then [DONE].", **event}}
    return {"description": inspect.getdoc(operation.answers) or "The answer.", "content": content}


def merge_groups(groups: Groups, components: dict[str, Schema]) -> Schema:
    """The schema of an object with the fields of all groups, and with those that are ignored, or change nothing."""
    schemas = [components[group.__name__] for group in groups]
    properties = {name: schema for each in schemas for name, schema in each["properties"].items()}
    required = [name for each in schemas for name in each.get("required", [])]
    if "messages" in properties and "max_tokens" in properties:
        properties["messages"] = {"type": "array", "items": reference("ChatMessage")}
    aliases = {alias: properties[name] for alias, name in ALIASES.items() if name in properties}
    others: dict[str, Schema] = {name: {"description": "Ignored."} for name in sorted(IGNORED)}
    others |= {name: {"enum": [None, *values]} for name, values in sorted(NEUTRAL.items())}
    return {
        "type": "object",
        "properties": {**others, **aliases, **properties},
        "required": required,
        "additionalProperties": False,
    }


def reference(name: str) -> Schema:
    return {"$ref": REFERENCE.format(name=name)}
