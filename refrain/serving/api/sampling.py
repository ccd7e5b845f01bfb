"""From the fields of a request to how its tokens are sampled."""

import secrets

from refrain.generation import sampling
from refrain.generation.sampling import SamplingParams
from refrain.serving.api.fields import SamplingFields
from refrain.serving.errors import ApiError, invalid_value
from refrain.serving.settings.schema import SamplingSettings

DEFAULTED = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")


def sampling_params(fields: SamplingFields, defaults: SamplingSettings, vocab_size: int) -> SamplingParams:
    """How tokens are chosen, with a seed in any case; ApiError 400 for values without a meaning."""
    values = {name: getattr(fields, name) for name in DEFAULTED}
    values = {name: getattr(defaults, name) if value is None else value for name, value in values.items()}
    if values["top_k"] == -1:  # vLLM's word for all
        values["top_k"] = 0
    seed = secrets.randbelow(2**32) if fields.seed is None or is_seed_drawn(fields) else fields.seed
    params = SamplingParams(**values, logit_bias=parse_logit_bias(fields.logit_bias or {}), seed=seed)
    try:
        sampling.validate(params, vocab_size)
    except ValueError as error:
        raise refuse(error) from error
    return params


def is_seed_drawn(fields: SamplingFields) -> bool:
    """Whether a request leaves its seed to the server; -1 is llama.cpp's word for any."""
    return fields.seed in (None, -1)


def parse_logit_bias(given: dict[str, float]) -> dict[int, float]:
    """The values by the ids that JSON can only write as text."""
    for key in given:
        if not (key.isascii() and key.isdigit() and len(key) < 10):
            raise invalid_value("logit_bias", f"logit_bias: {key[:40]!a} is no id of a token; /tokenize tells ids")
    return {int(key): value for key, value in given.items()}


def refuse(error: ValueError) -> ApiError:
    """What a check says of a value that it names in the beginning."""
    return invalid_value(str(error).partition(":")[0], str(error))
