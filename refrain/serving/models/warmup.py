"""A first token, after which a server calls itself ready."""

import logging

from refrain.generation.request import GenerationRequest
from refrain.generation.sampling import SamplingParams
from refrain.serving.backends.protocol import Backend
from refrain.serving.errors import ApiError
from refrain.serving.process.readiness import Readiness

log = logging.getLogger(__name__)


async def warm_up(backend: Backend, readiness: Readiness) -> None:
    """Let a model make a token; where it cannot, the server is not ready, and says why."""
    try:
        async for _ in backend.submit(GenerationRequest([0], SamplingParams(), 1)):
            pass
        readiness.is_warm = True
    except (ApiError, ValueError) as error:
        readiness.warmup_failure = str(error)
        log.error("the model makes no token: %s", error)
