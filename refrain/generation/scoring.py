"""How likely a given reply is: a model reads it, and says nothing."""

import numpy as np

from refrain.chat.encoding import IGNORE_INDEX, Features
from refrain.generation import sampling
from refrain.generation.sampling import TokenLogprobs
from refrain.runtime.loading import Session
from refrain.runtime.session import prefill_chunks


def score_reply(lm: Session, row: Features, prompt_length: int, top: int) -> tuple[list[int], list[TokenLogprobs]]:
    """The labelled ids behind a prompt, each with its log-probability; ValueError for more than the model sees."""
    ids, labels = row["input_ids"], row["labels"]
    if len(ids) > lm.context:
        raise ValueError(f"prompt and reply: {len(ids)} tokens, but the model sees {lm.context}; shorten them")
    slots, scored, found = lm.allocate_slots(1), [], []
    for begin, end in prefill_chunks(0, len(ids) - 1):
        logits = slots.prefill(0, np.array(ids[begin:end], dtype=np.int64), keep=end - begin)
        for place, token_logits in enumerate(logits, begin + 1):  # position t predicts token t + 1
            if place >= prompt_length and labels[place] != IGNORE_INDEX:
                scored.append(ids[place])
                found.append(sampling.token_logprobs(token_logits, ids[place], top))
    return scored, found
