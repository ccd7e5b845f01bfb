"""Whoever comes, leaves and shares beginnings: a reply is what it is alone, kept or made, to the last bit."""

import asyncio
import random
import threading
from shutil import copytree

import traced_model

from refrain.chat.encoding import ChatTokenizer
from refrain.generation.grammar import Grammar
from refrain.generation.request import GenerationRequest
from refrain.generation.sampling import SamplingParams
from refrain.runtime import onnx_folder
from refrain.serving.backends.protocol import Piece
from refrain.serving.errors import ApiError
from refrain.serving.settings.schema import CacheSettings

CLIENTS, ROUNDS = 16, 14
TOKENIZER = ChatTokenizer(traced_model.tokenizer(), traced_model.TEMPLATE, {"eos_token": "<|im_end|>"})
DIGITS = Grammar(TOKENIZER, None, "[0-9]{3,40}")


def make_request(number):
    """A request of any kind; prompts share beginnings of some chunks, and are longer than one."""
    rng = random.Random(number)
    prompt = [*range(32, 32 + 64 * (number % 3)), *rng.choices(range(256), k=rng.choice([1, 5, 64, 70]))]
    sampling = SamplingParams(temperature=number % 2, top_p=0.95, seed=number)
    letters = tuple("abcdefghijklmnopqrstuvwxyz")
    return GenerationRequest(
        prompt, sampling, rng.randrange(1, 25), stop_strings=letters if number % 5 == 0 else (),
        grammar=DIGITS if number % 4 == 0 else None, logprobs=number % 4 if number % 7 else None,
    )  # fmt: skip


async def read(generation, most_pieces=None):
    """The reply as one piece; cancelled behind so many pieces."""
    whole, count = Piece(), 0
    if most_pieces == 0:
        generation.cancel()
    async for piece in generation:
        whole.extend(piece)
        count += 1
        if count == most_pieces:
            generation.cancel()
    return whole


def is_beginning(part, whole):
    return whole.text.startswith(part.text) and (part.ids, part.logprobs) == (
        whole.ids[: len(part.ids)],
        whole.logprobs[: len(part.logprobs)],
    )


async def keep_company(server):
    model = await server.models.find(None)
    requests = [make_request(number) for number in range(40)]
    alone = [await read(server.submit(model, request, uses_cache=False)) for request in requests]
    assert {"stop", "length"} == {whole.finish_reason for whole in alone}
    hits = cancelled = 0

    async def ask(client):
        nonlocal hits, cancelled
        rng = random.Random(client)
        for _ in range(ROUNDS):
            for _ in range(rng.choice([0, 0, 1, 50])):
                await asyncio.sleep(0)
            number = rng.randrange(len(requests))
            generation = server.submit(model, requests[number], uses_cache=rng.random() < 0.5)
            reply = await read(generation, rng.choice([None, None, 0, 1, 2]))
            hits += generation.cache == "hit"
            if reply.finish_reason == "cancelled":
                assert is_beginning(reply, alone[number])
                cancelled += 1
            else:
                assert reply == alone[number]

    await asyncio.gather(*(ask(client) for client in range(CLIENTS)))
    assert hits > 20 and cancelled > 20, "some were kept, some left"
    assert server.models.num_running() + server.models.num_waiting() == 0
    return server.cache


def test_replies_are_what_they_are_alone(serve):
    running = serve(max_num_seqs=5, kv_cache_memory=1000 * 1024, cache=CacheSettings(check_every=2))
    cache = asyncio.run_coroutine_threadsafe(keep_company(running.server), running.loop).result(60)
    assert cache.checks > 2 and cache.mismatches == 0


async def change_models(server):
    """Clients of several models for which there is not enough room, and reloads between them."""
    names, requests = ["refrain", "refrain:fp32", "a", "b"], [make_request(number) for number in range(12)]
    alone = {}
    for name in names:
        model = await server.models.find(name)
        for number, request in enumerate(requests):
            alone[name, number] = await read(server.submit(model, request, uses_cache=False))
    refused = 0

    async def ask(client):
        nonlocal refused
        rng = random.Random(client)
        for _ in range(5):
            name, number = rng.choice(names), rng.randrange(len(requests))
            try:
                model = await server.models.find(name)
            except ApiError as error:
                assert error.code == "loading" and error.retry_after
                refused += 1
                continue
            await asyncio.sleep(rng.choice([0, 0.001]))  # a model in hand stays open, whatever happens meanwhile
            assert await read(server.submit(model, requests[number])) == alone[name, number]

    async def reload():
        for _ in range(5):
            await server.models.reload()
            await asyncio.sleep(0.001)

    await asyncio.gather(reload(), *(ask(client) for client in range(8)))
    del model
    while server.models._retired:
        await asyncio.sleep(0.01)
    return refused


def test_models_come_and_go_under_those_who_ask(serve, served_folder, tmp_path):
    models = {name: str(copytree(served_folder / "fp32", tmp_path / name / "fp32")) for name in ("a", "b")}
    room = onnx_folder.model_bytes(served_folder / "best") + int(1.5 * onnx_folder.model_bytes(served_folder / "fp32"))
    running = serve(models=models, models_memory=room)
    before = threading.active_count()
    refused = asyncio.run_coroutine_threadsafe(change_models(running.server), running.loop).result(60)
    assert refused < 30 and len(running.server.models.open_models()) <= 2
    assert threading.active_count() <= before + 8, "engines end with their models"
