"""What Ollama is told of a chat template is what the template writes, or nothing."""

from dataclasses import replace

import awkward_templates
import pytest
from traced_model import TEMPLATE

from refrain.exporters.gguf import modelfile, questions

SYSTEM = {"role": "system", "content": "Be kind."}
TALK = [
    {"role": "user", "content": "hi {{ x }}"},
    {"role": "assistant", "content": "yes"},
    {"role": "user", "content": "and?"},
]


@pytest.mark.parametrize("messages", [TALK[:1], TALK, [SYSTEM, *TALK]])
def test_frames_render_what_the_template_renders(messages, talk):
    frames = modelfile.find_frames(talk)
    assert frames.render(messages) == modelfile.render(talk, messages)


def test_a_modelfile_has_the_file_the_template_the_stops_and_the_context(talk):
    prompts = list(questions.list_prompts(talk, [TALK]))
    lines = modelfile.make_modelfile("m-Q8_0.gguf", talk, prompts, 256).splitlines()
    assert (lines[0], *lines[2:]) == (
        "FROM ./m-Q8_0.gguf", 'PARAMETER stop "<|im_end|>"', "PARAMETER num_ctx 256", "PARAMETER temperature 0",
    )  # fmt: skip
    assert lines[1] == (
        'TEMPLATE """{{ range $i, $m := .Messages }}'
        '{{ if eq $m.Role "system" }}{{ "<|im_start|>system\\n" }}{{ $m.Content }}'
        '{{ else if eq $m.Role "user" }}{{ if eq $i 0 }}{{ "<|im_start|>user\\n" }}'
        '{{ else if and (eq $i 1) $.System }}{{ "<|im_end|>\\n<|im_start|>user\\n" }}'
        '{{ else }}{{ "<|im_end|>\\n<|im_start|>user\\n" }}{{ end }}{{ $m.Content }}'
        '{{ "<|im_end|>\\n<|im_start|>assistant\\n" }}'
        '{{ else if eq $m.Role "assistant" }}{{ $m.Content }}{{ end }}{{ end }}"""'
    )


def test_a_system_turn_that_is_refused_has_no_place(talk):
    frames = modelfile.find_frames(replace(talk, template=awkward_templates.GEMMA))
    assert frames.before_system is None and ".System" not in frames.to_go()
    assert frames.render(TALK).startswith("<|im_start|>user\nhi {{ x }}<|im_end|>\n<|im_start|>model\nyes")


@pytest.mark.parametrize("template", [
    awkward_templates.DEEPSEEK,  # asks with a thought that no reply has
    TEMPLATE.replace("{{ m.content }}", "{{ m.content | upper if m.role == 'user' else m.content }}"),
    TEMPLATE.replace("{% endfor %}", "{{ loop.index }}{% endfor %}"),
])  # fmt: skip
def test_a_template_that_writes_more_than_frames_is_left_out_and_says_so(template, talk):
    awkward = replace(talk, template=template)
    text = modelfile.make_modelfile("m.gguf", awkward, list(questions.list_prompts(awkward, [TALK])), 256)
    assert "TEMPLATE" not in text and modelfile.NOTHING_SAID in text


def test_text_that_ends_a_reply_is_a_stop(talk):
    plain = replace(
        talk,
        template="{% for m in messages %}{{ m.role }}: {{ m.content }}\n###\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}",
    )
    text = modelfile.make_modelfile("m.gguf", plain, [], 256)
    assert 'PARAMETER stop "###"' in text
