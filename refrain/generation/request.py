"""One reply that is asked for, and the sequence that it becomes."""

from dataclasses import dataclass

from refrain.chat.encoding import ChatTokenizer
from refrain.generation.grammar import Grammar, GrammarState
from refrain.generation.sampling import Sampler, SamplingParams
from refrain.generation.sequence import Sequence
from refrain.runtime.detokenizer import Detokenizer


@dataclass(frozen=True)
class GenerationRequest:
    """How one reply is made: after which ids, how its tokens are sampled, what it must match, where it ends."""

    prompt_ids: list[int]
    sampling: SamplingParams  # with its seed
    max_new_tokens: int  # at least 1; prompt and reply fit into the context
    stop_strings: tuple[str, ...] = ()
    grammar: Grammar | None = None
    logprobs: int | None = None  # None for none, else how many of the likeliest beside each token
    is_chat: bool = True  # whether the template's text marker, where it has one, ends the reply too
    is_seed_drawn: bool = False  # whether nobody asked for this very seed, so that nobody will ask for it again


def start_sequence(tokenizer: ChatTokenizer, request: GenerationRequest) -> Sequence:
    """The reply that is asked for, for an engine to run."""
    grammar, prompt_ids = request.grammar, request.prompt_ids
    sampler = Sampler(request.sampling, prompt_ids, GrammarState(grammar) if grammar else None)
    ends_with_text = request.is_chat and not grammar  # inside of a JSON string the marker is text
    stop_strings = (*(tokenizer.stop_strings if ends_with_text else ()), *request.stop_strings)
    detokenizer = Detokenizer(tokenizer.tokenizer, stop_strings)
    return Sequence(prompt_ids, request.max_new_tokens, tokenizer.stop_ids, detokenizer, sampler, request.logprobs)
