"""The table of all shapes: the columns that each must have and may have, and other names for them."""

from functools import partial

from refrain.data.shapes import (
    api_formats,
    chat_exports,
    choices,
    conversations,
    question_lists,
    squad,
    transcript,
    tree,
    turn_rows,
    votes,
)
from refrain.data.shapes.column_aliases import ANSWERS, CHOICES, CONTEXT, KEYS, PAIR, PASSAGE, SYSTEM
from refrain.data.shapes.shape import ROWS_TOGETHER, Shape, accept_any, parse_many, single_parser
from refrain.data.shapes.turn_keys import LABELS

CHAT_COLUMNS = ("system", "id", *LABELS)
ANSWER_COLUMNS = (*CHAT_COLUMNS, "history", "reasoning_content")
INSTRUCTION_COLUMNS = ("input", "system", "id", "history")
REPLIES = ("chosen", "rejected")


def chat_shape(name: str, column: str, *other_names: str) -> Shape:
    return Shape(
        name,
        (column,),
        single_parser(conversations.parse_chat, column),
        CHAT_COLUMNS,
        ROWS_TOGETHER,
        aliases=SYSTEM | {column: other_names},
        is_chat=True,
    )


def answer_shape(name: str, columns: tuple[str, str], *other_names: str) -> Shape:
    parse = single_parser(conversations.parse_question_answer, *columns)
    fits = squad.has_texts if "answers" in columns else accept_any
    aliases = CONTEXT | {columns[0]: other_names, columns[1]: ANSWERS}
    return Shape(name, columns, parse, ANSWER_COLUMNS, fits=fits, aliases=aliases)


def pair_shape(prompt: str, optional: tuple[str, ...], on_request: tuple[str, ...]) -> Shape:
    columns = (prompt, *REPLIES)
    parse = single_parser(conversations.parse_preference, *columns)
    return Shape("preference", columns, parse, optional, on_request, aliases=PAIR)


SHAPES = (
    chat_shape("messages", "messages", "conversation", "dialogue", "dialog", "chat", "turns", "data", "chat_messages"),
    chat_shape("sharegpt", "conversations"),
    chat_shape("utterances", "utterances"),
    Shape(
        "alpaca",
        ("instruction", "output"),
        single_parser(conversations.parse_question_answer, "instruction", "output"),
        (*INSTRUCTION_COLUMNS, *LABELS, "reasoning_content"),
        ROWS_TOGETHER,
        aliases=CONTEXT | {"instruction": ("definition",), "input": ("inputs", *PASSAGE), "output": ANSWERS},
    ),
    answer_shape("qa", ("question", "answer"), "query", "problem", "user", "human"),
    answer_shape("qa", ("question", "answers"), "query", "problem"),
    answer_shape("completion", ("prompt", "completion"), "inputs", "input", "context"),
    Shape(
        "preference",
        ("prompt", *REPLIES, "messages"),
        single_parser(conversations.parse_preference, "prompt", *REPLIES),
        on_request=ROWS_TOGETHER,
        fits=conversations.repeats_chosen,
        aliases=SYSTEM,
        outranks=("messages",),
    ),
    *(pair_shape(prompt, ("system", "id", "history"), ("input", *ROWS_TOGETHER)) for prompt in ("prompt", "question")),
    pair_shape("instruction", INSTRUCTION_COLUMNS, ROWS_TOGETHER),
    *(
        Shape(
            "preference",
            (prompt, *REPLIES),
            single_parser(conversations.parse_preference, prompt, *REPLIES),
            on_request=ROWS_TOGETHER,
            fits=partial(conversations.has_single_replies, prompt),
            aliases=SYSTEM,
            outranks=("messages", "sharegpt"),
        )
        for prompt in ("conversations", "messages")
    ),
    *(
        Shape(
            "preference",
            (chat, "rejected_response"),
            single_parser(conversations.parse_answered_chat, chat, "rejected_response"),
            on_request=ROWS_TOGETHER,
            aliases=SYSTEM,
            outranks=("messages", "sharegpt"),
        )
        for chat in ("messages", "conversations")
    ),
    Shape(
        "preference",
        ("query", "response", "rejected_response"),
        single_parser(conversations.parse_preference, "query", "response", "rejected_response"),
        ("system", "id", "history"),
        ("input", *ROWS_TOGETHER),
        aliases=CONTEXT | {"query": ("question", "prompt", "instruction")},
        outranks=("qa", "completion", "alpaca"),
    ),
    Shape(
        "openai_preference",
        ("input", *api_formats.OUTPUTS),
        single_parser(api_formats.parse_openai_preference),
        on_request=ROWS_TOGETHER,
        fits=api_formats.has_messages,
        outranks=("preference",),
    ),
    Shape(
        "openai_batch",
        ("custom_id", "body"),
        partial(parse_many, api_formats.parse_batch),
        ("response", *LABELS),
        ROWS_TOGETHER,
        api_formats.has_request,
    ),
    Shape(
        "anthropic_batch",
        ("custom_id", "params"),
        single_parser(api_formats.parse_params),
        ("result", *LABELS),
        ROWS_TOGETHER,
        api_formats.has_params,
    ),
    Shape(
        "chatgpt",
        ("mapping", "current_node"),
        single_parser(chat_exports.parse_export),
        ("id",),
        ROWS_TOGETHER,
        chat_exports.has_messages,
        {"id": ("conversation_id",)},
    ),
    Shape(
        "gemini",
        ("contents",),
        single_parser(api_formats.parse_contents),
        ("system_instruction", "id", *LABELS),
        ROWS_TOGETHER,
        api_formats.has_parts,
        {"system_instruction": ("systemInstruction",)},
    ),
    Shape(
        "question_lists",
        ("questions", "answers"),
        single_parser(question_lists.parse_questions),
        ("context", *CHAT_COLUMNS),
        ROWS_TOGETHER,
        question_lists.has_lists,
        SYSTEM | {"context": ("story", "passage")},
    ),
    *(
        Shape(
            "mt_bench",
            (number, turns),
            single_parser(question_lists.parse_benchmark, turns),
            ("reference",),
            ROWS_TOGETHER,
            partial(question_lists.has_texts, turns),
        )
        for number, turns in (("question_id", "turns"), ("prompt_id", "prompt"))
    ),
    *(
        Shape(
            "choices",
            (question, listed, key),
            single_parser(choices.parse_choices, (question, listed, key), 0),
            tuple(column for column in CHAT_COLUMNS if column != key),
            ("input", *ROWS_TOGETHER),
            partial(choices.has_right_choice, (question, listed, key)),
            {**CONTEXT, question: ("question_stem", "stem", "query", "problem"), listed: CHOICES, key: KEYS},
            ("qa", "completion"),
        )
        for question, listed, key in (
            *(("question", listed, "answer") for listed in CHOICES[:2]),
            ("question", "choices", "answerKey"),
            ("ctx", "endings", "label"),
        )
    ),
    Shape(
        "preference",
        REPLIES,
        single_parser(conversations.parse_branches, *REPLIES),
        on_request=ROWS_TOGETHER,
        fits=conversations.has_branches,
        aliases=SYSTEM,
    ),
    Shape(
        "transcript",
        REPLIES,
        single_parser(transcript.parse_transcripts),
        on_request=ROWS_TOGETHER,
        fits=transcript.has_speakers,
    ),
    Shape(
        "transcript",
        ("transcript",),
        single_parser(transcript.parse_transcript),
        CHAT_COLUMNS,
        ROWS_TOGETHER,
        transcript.has_marks,
        SYSTEM | {"transcript": ("text", "chat", "dialogue")},
    ),
    *(
        Shape(
            "votes",
            vote_format.required_columns,
            single_parser(votes.parse_vote, vote_format),
            (*(vote_format.scores or ()), "system", "id", *(["input"] if vote_format is votes.ANY_VERDICT else [])),
            ROWS_TOGETHER,
            aliases=SYSTEM,
        )
        for vote_format in votes.VOTE_FORMATS
    ),
    Shape(
        "squad",
        ("context", "question", "answers"),
        single_parser(squad.parse_passage),
        ("is_impossible", *CHAT_COLUMNS),
        ROWS_TOGETHER,
        squad.has_offsets,
    ),
    Shape(
        "squad",
        ("paragraphs",),
        partial(parse_many, squad.parse_articles),
        on_request=ROWS_TOGETHER,
        fits=squad.has_questions,
    ),
    Shape(
        "instances",
        ("instruction", "instances"),
        partial(parse_many, conversations.parse_instances),
        CHAT_COLUMNS,
        ROWS_TOGETHER,
        aliases=SYSTEM | {"instruction": ("definition",)},
    ),
    Shape(
        turn_rows.NAME,
        ("role", "content"),
        turn_rows.refuse_alone,
        ("conversation", "system"),
        ROWS_TOGETHER,
        turn_rows.has_role,
        turn_rows.ALIASES,
    ),
    Shape("tree", ("message_tree_id", "prompt"), tree.parse_tree, ("system",), ROWS_TOGETHER, tree.has_root),
)
