import pytest

from refrain.data import augmentation
from refrain.pipeline import validation
from refrain.pipeline.schema import AugmentationConfig

OFF = {"paraphrases": [], "merge_input": False, "noise": 0.0, "truncate": 0.0}
ALL = {"paraphrases": ["Please tell me: {prompt}", "{prompt} Be brief."], "merge_input": True, "noise": 1.0,
       "truncate": 1.0}  # fmt: skip
ROLES = {"s": "system", "u": "user", "a": "assistant"}


def row(*turns, id="0-some.jsonl:7", **more):
    """Turns such as "u What is fog?"."""
    return {"id": id, "messages": [{"role": ROLES[turn[0]], "content": turn[2:]} for turn in turns], **more}


def variants(row, seed=1, **settings):
    return list(augmentation.augment_row(row, AugmentationConfig(**{**OFF, **settings}), seed))


def texts(row, **settings):
    """What each variant says, turn by turn."""
    return [[turn["content"] for turn in variant["messages"]] for variant in variants(row, **settings)]


def noises(content, count=100, **more):
    """Every noisy form of a question that comes up under some seeds."""
    made = [variants(row(f"u {content}", "a Yes.", **more), seed, noise=1.0) for seed in range(count)]
    return {variant["messages"][0]["content"] for one in made for variant in one}


CHAT = ("s Be kind.", "u Hello There!", "a Hi.", "u What is Fog?", "a A cloud.", "u Where is it?", "a Near.")
ALPACA = row("u Name the cloud.\n\nIt touches the Ground.", "a Fog.", input_from=17, own_id="5")


def test_nothing_is_made_unless_asked_for():
    assert variants(row(*CHAT)) == variants(ALPACA) == []


def test_a_variant_is_named_after_its_parent_and_keeps_what_else_is_known():
    parent = row("u What is fog?", "a A cloud.", rejected="No idea.", group="9")
    assert variants(parent, paraphrases=["Say: {prompt}"]) == [
        {
            "id": "0-some.jsonl:7#paraphrase-1",
            "messages": row("u Say: What is fog?", "a A cloud.")["messages"],
            "rejected": "No idea.",
            "group": "9",
            "parent": "0-some.jsonl:7",
        }
    ]
    assert {variant["id"] for variant in variants(ALPACA, **ALL)} == {
        "0-some.jsonl:7#paraphrase-1", "0-some.jsonl:7#paraphrase-2", "0-some.jsonl:7#merged", "0-some.jsonl:7#noise"
    }  # fmt: skip


def test_a_template_asks_the_last_question_whatever_braces_either_holds():
    chat = row("u One {prompt}?", "a Yes.", "u Two {x}?", "a {prompt}")
    assert texts(chat, paraphrases=["{a} {prompt}"]) == [["One {prompt}?", "Yes.", "{a} Two {x}?", "{prompt}"]]


@pytest.mark.parametrize(
    ("instruction", "given", "merged"),
    [
        ("Name the cloud.", "It touches the ground.", "Name the cloud. It touches the ground."),
        ("Translate to French", "Good morning ", "Translate to French: Good morning "),
        ("Sort these:", "3\n1\n\n2", "Sort these:\n3\n1\n\n2"),
        ("Sort.\nUp or down.", "3 1", "Sort.\nUp or down.\n3 1"),
    ],
)
def test_an_instruction_and_its_input_are_said_in_one_paragraph(instruction, given, merged):
    parent = row(f"u {instruction}\n\n{given}", "a Yes.", input_from=len(instruction) + 2)
    assert texts(parent, merge_input=True) == [[merged, "Yes."]]
    assert "input_from" not in variants(parent, merge_input=True)[0]


def test_a_question_without_an_input_has_nothing_to_merge():
    assert variants(row("u Name\n\nthe cloud", "a Fog."), merge_input=True) == []


def test_noise_is_lower_case_no_last_sign_or_a_doubled_blank_in_any_mix():
    assert noises("Tell me, please.", 200) == {
        "tell me, please.", "Tell me, please", "tell me, please",
        "Tell  me, please.", "Tell me,  please.", "tell  me, please.", "tell me,  please.",
        "Tell  me, please", "Tell me,  please", "tell  me, please", "tell me,  please",
    }  # fmt: skip


@pytest.mark.parametrize(
    "kept",
    [
        "```\nIf A Then.\n```", "~~~\nIf A Then.", "`Foo Bar Baz.`", "    Return It Now.", '"Foo Bar."', "“Foo Bar.”",
        "https://Some.Where/Path?Q", "Me@Some.Where", "<|im_start|>", "<|Start Header Now|>", "[INST]",
        "{{Name Of It}}", "$A B$", "Read_Me.md", "3.", "NASA", "iPhone", "X", "main.Run()", "std::Foo", "K2",
    ],
)  # fmt: skip
def test_noise_leaves_alone_what_is_no_plain_word(kept):
    assert {form for form in noises(f"Say\n{kept}") if form not in (f"Say\n{kept}", f"say\n{kept}")} == set()
    assert f"say\n{kept}" in noises(f"Say\n{kept}")


def test_noise_is_in_questions_only_and_never_in_an_input():
    loud = row("s Be Kind.", "u Say Fog.", "a Some Fog.", "u And Rain.\n\nThe Rain.", "a Some Rain.", input_from=11)
    made = [variants(loud, seed, noise=1.0) for seed in range(50)]
    said = [[turn["content"] for turn in variant["messages"]] for one in made for variant in one]
    assert {(system, first, last) for system, _, first, _, last in said} == {("Be Kind.", "Some Fog.", "Some Rain.")}
    assert all(question.endswith("\n\nThe Rain.") for *_, question, _ in said)
    assert {question for *_, question, _ in said} > {"and rain.\n\nThe Rain.", "And Rain\n\nThe Rain."}
    assert "say fog." in {first for _, first, *_ in said}


def test_a_question_is_never_emptied():
    assert noises("?") == noises("...") == noises("🙂") == set()


def test_hostile_texts_take_no_time():
    for opening in "<[{$`“\"'a-(.~ ":
        assert len(noises(opening * 200_000, 1)) <= 1


def test_a_truncated_chat_begins_with_a_later_question_below_the_system_turn():
    made = {tuple(one) for seed in range(20) for one in texts(row(*CHAT), truncate=1.0, seed=seed)}
    assert made == {
        ("Be kind.", "What is Fog?", "A cloud.", "Where is it?", "Near."),
        ("Be kind.", "Where is it?", "Near."),
    }
    assert texts(row("a Hi.", "u Fog?", "u Yes, fog.", "a A cloud."), truncate=1.0) == [
        ["Fog?", "Yes, fog.", "A cloud."]
    ]
    assert texts(row("s Be kind.", "u Fog?", "a A cloud."), truncate=1.0) == []


def test_an_input_is_still_known_where_the_question_is_the_same():
    chat = row("u Hello!", "a Hi.", "u Name it.\n\nA cloud.", "a Fog.", input_from=10)
    assert [variant["input_from"] for variant in variants(chat, truncate=1.0)] == [10]


def test_no_variant_is_equal_to_its_parent_or_to_another():
    templates = ["{prompt}", "What is {prompt}?", "What is {prompt}?"]
    assert texts(row("u fog", "a Yes."), paraphrases=templates, noise=1.0) == [["What is fog?", "Yes."]]


def test_all_variants_end_with_the_replies_of_the_parent():
    for parent in (row(*CHAT), ALPACA):
        for variant in variants(parent, **ALL):
            assert variant["messages"][-1] == parent["messages"][-1]


def test_the_share_is_drawn_from_the_seed_and_the_id_alone():
    many = [row("u What Is Fog?", "a A cloud.", id=f"0-some.jsonl:{line}") for line in range(1000)]
    chosen = [[variant["parent"] for parent in rows for variant in variants(parent, noise=0.3)]
              for rows in (many, many[::-1])]  # fmt: skip
    assert 250 < len(chosen[0]) < 350
    assert chosen[0] == chosen[1][::-1]
    assert chosen[0] != [variant["parent"] for parent in many for variant in variants(parent, noise=0.3, seed=2)]


def test_what_no_variant_could_honour_is_named():
    assert list(validation.augmentation_problems(AugmentationConfig(**ALL))) == []
    wrong = AugmentationConfig(paraphrases=["Tell me: {question}"], merge_input=True, noise=1.5, truncate=-0.1)
    assert list(validation.augmentation_problems(wrong)) == [
        "data.augment.paraphrases: 'Tell me: {question}' asks nothing; write {prompt} where the question belongs",
        "data.augment.noise=1.5 is no share from 0 to 1",
        "data.augment.truncate=-0.1 is no share from 0 to 1",
    ]
