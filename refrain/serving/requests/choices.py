"""The choices of one answer: several replies that grow side by side."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

from refrain.generation.request import GenerationRequest
from refrain.serving.backends.protocol import Generation, Piece
from refrain.serving.errors import ApiError
from refrain.serving.models.model_pool import ServedModel

Submit = Callable[[ServedModel, GenerationRequest], Generation]


def submit_all(submit: Submit, model: ServedModel, requests: Sequence[GenerationRequest]) -> list[Generation]:
    """A reply to each request, or none where one of them finds no room: ApiError 429."""
    generations: list[Generation] = []
    try:
        for request in requests:
            generations.append(submit(model, request))
    except ApiError:
        cancel_all(generations)
        raise
    return generations


def cancel_all(generations: Sequence[Generation]) -> None:
    for generation in generations:
        generation.cancel()


async def merge(generations: Sequence[Generation]) -> AsyncIterator[tuple[int, Piece]]:
    """The pieces of all, each with the number of its reply, as they come; who stops reading cancels them all."""
    if len(generations) == 1:  # by far the commonest, and no task for each piece
        try:
            async for piece in generations[0]:
                yield 0, piece
        finally:
            cancel_all(generations)
        return
    iterators = [aiter(generation) for generation in generations]
    following = {asyncio.ensure_future(anext(each)): nth for nth, each in enumerate(iterators)}
    try:
        while following:
            done, _ = await asyncio.wait(following, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=lambda task: following[task]):
                nth = following.pop(task)
                with suppress(StopAsyncIteration):
                    piece = task.result()
                    yield nth, piece
                    following[asyncio.ensure_future(anext(iterators[nth]))] = nth
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        cancel_all(generations)


async def collect(generations: Sequence[Generation]) -> list[Piece]:
    """Each reply as a whole."""
    wholes = [Piece() for _ in generations]
    async for nth, piece in merge(generations):
        wholes[nth].extend(piece)
    return wholes
