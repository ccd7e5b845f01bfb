"""Chat templates as published models have them that write tools, calls and thoughts, and conversations for them."""

from importlib.util import find_spec
from pathlib import Path

from awkward_templates import GEMMA, QWEN3
from dialogues import CHATML, TEMPLATES

FOLDER = Path(find_spec("trl").origin).parent / "chat_templates"
NAMES = ("qwen2_5", "qwen3", "qwen3_8", "llama3_1", "llama3_2", "lfm2_2_5", "deepseekv3", "deepseek_r1_distill")
MISTRAL = (  # tools stand before the last question, ids have nine signs, and words beside a call are left out
    "{%- set users = messages | selectattr('role', 'equalto', 'user') | list %}{{- bos_token }}{%- for m in messages %}"
    "{%- if m.role == 'user' %}{%- if tools is not none and m == users[-1] %}{{- '[AVAILABLE_TOOLS] [' }}"
    '{%- for tool in tools %}{{- \'{"type": "function", "function": \' + tool.function | tojson + \'}\' }}'
    "{{- ', ' if not loop.last }}{%- endfor %}{{- '][/AVAILABLE_TOOLS]' }}{%- endif %}"
    "{{- '[INST] ' + m.content + '[/INST]' }}"
    "{%- elif m.tool_calls is defined and m.tool_calls is not none %}{{- '[TOOL_CALLS] [' }}"
    "{%- for call in m.tool_calls %}{%- if call.id is not defined or call.id | length != 9 %}"
    "{{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{%- endif %}"
    "{{- (call.function | tojson)[:-1] + ', \"id\": \"' + call.id + '\"}' + (']' if loop.last else ', ') }}"
    "{%- endfor %}{{- eos_token }}"
    "{%- elif m.role == 'assistant' %}{{- ' ' + m.content | trim + eos_token }}"
    "{%- elif m.role == 'tool' %}{{- '[TOOL_RESULTS] {\"content\": ' + m.content | string + ', ' }}"
    "{%- if m.tool_call_id is not defined or m.tool_call_id | length != 9 %}"
    "{{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{%- endif %}"
    "{{- '\"call_id\": \"' + m.tool_call_id + '\"}[/TOOL_RESULTS]' }}"
    "{%- else %}{{- raise_exception('Only user, assistant and tool roles are supported!') }}{%- endif %}{%- endfor %}"
)
HERMES = (  # a result must name its function
    "{%- if tools %}{{- '<|im_start|>system\\nYou may call one or more functions.\\n<tools>' }}{%- for tool in tools %}"
    "{{- tool.function | tojson }}{%- endfor %}{{- '</tools><|im_end|>\\n' }}{%- endif %}{%- for m in messages %}"
    "{%- if m.role == 'tool' %}{%- if m.name is not defined %}"
    "{{- raise_exception('Tool response dicts require a name key') }}{%- endif %}"
    '{{- \'<|im_start|>tool\\n<tool_response>\\n{"name": "\' + m.name + \'", "content": \' + m.content | tojson }}'
    "{{- '}\\n</tool_response>\\n<|im_end|>\\n' }}"
    "{%- elif m.role == 'assistant' and m.tool_calls %}{{- '<|im_start|>assistant\\n' + m.content }}"
    "{%- for call in m.tool_calls %}{{- '<tool_call>\\n{\"arguments\": ' + call.function.arguments | tojson }}"
    "{{- ', \"name\": \"' + call.function.name + '\"}\\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\\n' }}"
    "{%- else %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
PUBLISHED = {name: (FOLDER / f"{name}.jinja").read_text(encoding="utf-8") for name in NAMES}
TOOL_TEMPLATES = {
    **PUBLISHED,
    "mistral": MISTRAL,
    "hermes": HERMES,
    "chatml": CHATML,
    "gemma": GEMMA,
    "short_qwen3": QWEN3,
    "alpaca": TEMPLATES["alpaca"],
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": "which"}}, "required": ["city"]}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "what falls there", "parameters": SCHEMA},
}


def call(city="Oslo", id="abcdefgh1", **arguments):
    return {"id": id, "type": "function", "function": {"name": "weather", "arguments": {"city": city, **arguments}}}


def asks(text="Weather in Oslo?"):
    return {"role": "user", "content": text}


def calls(*tool_calls, content="", **keys):
    return {"role": "assistant", "content": content, "tool_calls": list(tool_calls) or [call()], **keys}


def gives(content="heavy rain", id="abcdefgh1", **keys):
    return {"role": "tool", "content": content, "tool_call_id": id, **keys}


def says(content="It rains.", **keys):
    return {"role": "assistant", "content": content, **keys}


LOOP = [asks(), calls(), gives(name="weather"), says()]
