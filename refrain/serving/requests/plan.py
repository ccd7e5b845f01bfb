"""What a request comes to: the replies that are to be made, with all that decides them, before anything runs."""

from dataclasses import dataclass, field, replace

from refrain.generation.grammar import Grammar
from refrain.generation.request import GenerationRequest
from refrain.generation.sampling import SamplingParams
from refrain.serving.api.body import Body
from refrain.serving.api.fields import OutputFields, SamplingFields
from refrain.serving.api.sampling import is_seed_drawn, sampling_params
from refrain.serving.errors import ApiError, invalid_value
from refrain.serving.models.model_pool import ServedModel
from refrain.serving.requests.served_tokenizer import ServedTokenizer
from refrain.serving.settings.schema import ServeSettings

MOST_LOGPROBS = 20


@dataclass(frozen=True)
class Output:
    """What is asked of each reply, its prompt aside."""

    sampling: SamplingParams
    is_seed_drawn: bool  # nobody asked for this very one
    num_choices: int
    max_tokens: int | None  # None for what the context has left
    stop_strings: tuple[str, ...]
    is_stream: bool
    includes_usage: bool


@dataclass(frozen=True)
class Plan:
    """The replies of one answer, in the order of its choices."""

    model: ServedModel
    tokenizer: ServedTokenizer
    output: Output
    prompts: list[list[int]]
    requests: list[GenerationRequest]
    ignored: list[str] = field(default_factory=list)
    num_left_out: int = 0  # turns

    @property
    def num_prompt_tokens(self) -> int:
        return sum(map(len, self.prompts))

    def headers(self) -> dict[str, str]:
        """What the answer says of fields without effect."""
        return Body({}, self.ignored).headers()


def plan_output(body: Body, settings: ServeSettings, vocab_size: int) -> Output:
    """What a request asks of each reply; ApiError 400 for values without a meaning."""
    fields = body.convert(OutputFields)
    given = body.convert(SamplingFields)
    params = sampling_params(given, settings.sampling, vocab_size)
    if fields.stream_options is not None and not fields.stream:
        raise invalid_value("stream_options", "stream_options: it is for streams alone; set stream to true, or leave "
                            "it out")  # fmt: skip
    max_tokens = settings.sampling.max_tokens if fields.max_tokens is None else fields.max_tokens
    if max_tokens is not None and max_tokens < 1 and max_tokens != -1:
        raise invalid_value("max_tokens", f"max_tokens: {max_tokens} leaves no room for a reply; give 1 or more")
    return Output(
        sampling=params,
        is_seed_drawn=is_seed_drawn(given),
        num_choices=count_choices(fields.n, settings),
        max_tokens=None if max_tokens == -1 else max_tokens,
        stop_strings=parse_stop(fields.stop),
        is_stream=bool(fields.stream),
        includes_usage=bool(fields.stream_options and fields.stream_options.include_usage),
    )


def count_choices(n: int | None, settings: ServeSettings) -> int:
    """How many replies a prompt gets; ApiError 400 where the server never has room for so many."""
    most = settings.max_num_seqs + settings.max_waiting
    if n is not None and not 1 <= n <= most:
        raise invalid_value("n", f"n: {n} choices are out of range; give 1 to {most}")
    return n or 1


def parse_stop(given: str | list[str] | None) -> tuple[str, ...]:
    """The texts that end a reply."""
    stops = (given,) if isinstance(given, str) else tuple(given or ())
    if "" in stops:
        raise invalid_value("stop", "stop: an empty text would end every reply at once; give texts, or null for none")
    return stops


def check_logprobs(count: int | None, param: str) -> int | None:
    """How many likely tokens are wanted beside each; ApiError 400 for too many."""
    if count is not None and not 0 <= count <= MOST_LOGPROBS:
        raise invalid_value(param, f"{param}: {count} is out of range; give 0 to {MOST_LOGPROBS}")
    return count


def plan_requests(
    prompts: list[list[int]], output: Output, context: int, grammar: Grammar | None, logprobs: int | None, is_chat: bool
) -> list[GenerationRequest]:
    """Every choice of every prompt; the seeds of one prompt's choices follow each other."""
    return [
        GenerationRequest(
            prompt_ids=prompt,
            sampling=replace(output.sampling, seed=output.sampling.seed + choice),
            max_new_tokens=min(output.max_tokens or context, context - len(prompt)),
            stop_strings=output.stop_strings,
            grammar=grammar,
            logprobs=logprobs,
            is_chat=is_chat,
            is_seed_drawn=output.is_seed_drawn,
        )
        for prompt in prompts
        for choice in range(output.num_choices)
    ]


def require_few(requests: list[GenerationRequest], settings: ServeSettings, param: str) -> None:
    """ApiError 400 where an answer has more choices than ever find room."""
    most = settings.max_num_seqs + settings.max_waiting
    if len(requests) > most:
        raise ApiError(
            400, "invalid_value", f"{param}: {len(requests)} replies at once, and the server takes {most}; ask for "
            "them in several requests", param,
        )  # fmt: skip
