"""Other names that people give to the columns of a shape, those that are likelier first."""

Aliases = dict[str, tuple[str, ...]]  # of our names


SYSTEM: Aliases = {"system": ("system_prompt", "system_message", "system_instruction", "systemInstruction", "preamble")}


ANSWERS = ("answer", "response", "output", "completion", "reply", "solution", "targets", "target", "assistant")


HISTORY: Aliases = {"history": ("chat_history", "conversation_history", "dialogue_history")}


PASSAGE = ("context", "passage", "paragraph", "article", "story", "document")


CONTEXT: Aliases = SYSTEM | HISTORY | {"input": PASSAGE}


CHOICES = ("choices", "options", "endings", "candidates")


KEYS = ("answer", "answerKey", "answer_key", "label", "correct", "correct_answer", "answer_index", "answer_idx", "gold")


PAIR: Aliases = CONTEXT | {
    "prompt": ("query", "problem", "user", "human", "input", "inputs", "context"),
    "chosen": ("chosen_response", "response_chosen", "preferred", "preferred_output", "accepted"),
    "rejected": ("rejected_response", "response_rejected", "non_preferred", "non_preferred_output", "dispreferred"),
}
