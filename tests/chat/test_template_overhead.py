"""What a template writes beside the words is known only where it is the same whatever the words are."""

import pytest
from awkward_templates import DEEPSEEK, GEMMA, LLAMA31, QWEN3
from dialogues import CHATML, ORDINARY, OWN, TEMPLATES, TYPED, dialogue

from refrain.chat import templates
from refrain.chat.template_overhead import TemplateOverhead

NAMES = {"bos_token": "<s>", "eos_token": "</s>"}
PLAIN = {
    "own": OWN,
    **{name: TEMPLATES[name] for name in ("chatml", "phi", "alpaca")},
    "parts": "{% for m in messages[1:] %}{% if loop.first and m.role != 'x' %}{% set who = m.role | upper %}"
    "{{ who[0] }}{% endif %}{{ 'a' if loop.index0 % 2 else 'é' }}{{ ('a' ~ m.content) + eos_token }}{% endfor %}",
    "first": "{{ messages[0].content }}{{ messages[-1]['content'] }}",
    "written by other names": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
}
TRIMMED = {"trimmed": "{% for m in messages %}({{ m.content | trim }}){% endfor %}", "gemma": GEMMA}
ONE = "{% for m in messages %}"
LOOKING = [
    *(QWEN3, DEEPSEEK, LLAMA31, TEMPLATES["llama2"]),
    ONE + "{% if m.content %}a{% endif %}{{ m.content }}{% endfor %}",
    ONE + "{% if 'a' in m['content'] %}a{% endif %}{% endfor %}",
    ONE + "{% set text = m.content %}{% if text %}a{% endif %}{% endfor %}",
    ONE + "{% set text %}{{ m.content }}{% endset %}{{ text + text }}{% endfor %}",
    ONE + "{% filter upper %}{{ m.content }}{% endfilter %}{% endfor %}",
    ONE + "{{ m.content | tojson }}{{ m.content * 2 }}{% endfor %}",
    ONE + "{{ m.content | replace('a', 'aaa') }}{% endfor %}",
    ONE + "{{ m.content if m.content is string else m }}{% endfor %}",
    ONE + "{{ m }}{% endfor %}",
    ONE + "{{ m.values() | list }}{% endfor %}",
    ONE + "{{ m['con' + 'tent'] * 2 }}{% endfor %}",
    ONE + "{{ loop.previtem.content * 3 if loop.previtem }}{% endfor %}",
    ONE + "{{ loop.changed(m) }}{% endfor %}",
    ONE + "{% set other = m %}{{ other.content * 2 }}{% endfor %}",
    ONE + "{% for x in m.content %}{{ x }}ab{% endfor %}{% endfor %}",
    ONE + "{{ raise_exception(m.content) if m.role == 'x' }}{% endfor %}",
    "{% for m in messages recursive %}{{ m.content }}{% endfor %}",
    "{% for m in messages if m.content %}a{% endfor %}",
    "{% macro f() %}{{ messages[0].content }}{% endmacro %}{{ f() * 2 }}",
    "{{ messages }}",
    "{{ messages | length }}{{ messages | map(attribute='content') | join }}",
    "{{ messages.pop().content }}",
    "{% for m in messages | reverse %}{{ m.content }}{% endfor %}",
    "{% for a, b in messages %}{{ a }}{{ b }}{% endfor %}",
    "{% set m = messages[0] %}{{ m.content * 2 }}",
    "{% set ns = namespace(text='') %}" + ONE + "{% set ns.text = m.content %}{% endfor %}{{ ns.text }}",
]
CONVERSATIONS = [ORDINARY, TYPED, ORDINARY[1:], ORDINARY[1:3], dialogue(" ", "\n", "a ", "b" * 300), TYPED[:3]]


def rendered(template, messages):
    return len(templates.render_template(template, messages, NAMES).encode())


@pytest.mark.parametrize("template", PLAIN.values(), ids=PLAIN)
def test_bytes_are_known_without_rendering_where_words_are_only_written(template):
    known = TemplateOverhead(template, NAMES)
    for messages in CONVERSATIONS:
        bound = known.count_bytes(messages)
        assert bound is not None and bound >= rendered(template, messages)
    assert known.count_bytes(ORDINARY) - known.count_bytes(dialogue(*"abcde")) == (
        sum(len(turn["content"].encode()) for turn in ORDINARY) - 5
    )


@pytest.mark.parametrize("template", [OWN, CHATML, TEMPLATES["phi"]])
def test_they_are_exact_where_each_turn_is_written_once(template):
    for messages in CONVERSATIONS:
        assert TemplateOverhead(template, NAMES).count_bytes(messages) == rendered(template, messages)


@pytest.mark.parametrize("template", TRIMMED.values(), ids=TRIMMED)
def test_trimmed_words_are_no_more_than_they_are(template):
    assert TemplateOverhead(template, NAMES).count_bytes(CONVERSATIONS[3]) == rendered(template, CONVERSATIONS[3])
    spaced = [{**turn, "content": f" \n{turn['content']} "} for turn in CONVERSATIONS[3]]
    assert TemplateOverhead(template, NAMES).count_bytes(spaced) == rendered(template, spaced) + 6


@pytest.mark.parametrize("template", LOOKING)
def test_nothing_is_known_where_a_template_may_look_at_the_words(template):
    known = TemplateOverhead(template, NAMES)
    assert not known.leaves_words_alone
    assert known.count_bytes(ORDINARY) is None


@pytest.mark.parametrize(
    "template, messages",
    [
        (GEMMA, ORDINARY),
        ("{{ messages[0].content }}{{ messages[0].content }}", ORDINARY),
        (OWN, [*ORDINARY[:-1], {**ORDINARY[-1], "train": False}]),
        (OWN, ORDINARY * 50),
    ],
    ids=["refused", "written twice", "more than texts", "a hundred turns"],
)
def test_nothing_is_known_of_other_conversations(template, messages):
    assert TemplateOverhead(template, NAMES).count_bytes(messages) is None
