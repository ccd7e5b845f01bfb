"""Another server behind ours: a real llama.cpp, and one that answers what vLLM or a broken one would."""

import asyncio
import re
import socket
import time

import pytest
import scripted_upstream
import served_model
from scripted_upstream import events, plain

import refrain
from refrain.exporters.gguf import llama_server, writer
from refrain.generation import grammar
from refrain.generation.request import GenerationRequest
from refrain.generation.sampling import SamplingParams
from refrain.runtime import loading
from refrain.serving.backends import http_stream, upstream
from refrain.serving.backends.openai import OpenAIBackend
from refrain.serving.backends.upstream import Upstream
from refrain.serving.errors import ApiError
from refrain.serving.server import create_app
from refrain.serving.settings.schema import ServeSettings

QUESTIONS = ["hello 🙂", "the user", "não, the assistant there", "hello the user and the assistant"]


@pytest.fixture(scope="module")
def llama(merged, tmp_path_factory):
    """The address of llama.cpp's server over the merged model in fp32."""
    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer.write_file(merged, file, "f32")
    with llama_server.run_server(file, "--fp32", "--threads", "1", "--context", "256", "--slots", "2") as address:
        yield address


@pytest.fixture(scope="module")
def server(llama, onnx):
    settings = {"model": str(onnx / "fp32"), "backend": "openai", "backend_url": llama, "threads": 1}
    with served_model.run_server(ServeSettings(**settings)) as server:
        yield server


@pytest.mark.heavy
def test_llama_cpp_says_what_the_exported_model_says(server, onnx):
    with refrain.load(onnx / "fp32", threads=1) as model:
        for question in QUESTIONS:
            right = model.chat(question, max_tokens=24)
            answer = server.chat(question, temperature=0, max_tokens=24).json()
            assert answer["choices"][0]["message"]["content"].rstrip("\ufffd") == right.text.rstrip("\ufffd")
            asked = {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 24}
            chunks = server.stream("/v1/chat/completions", asked)
            text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])
            assert text == answer["choices"][0]["message"]["content"]


@pytest.fixture
def scripted():
    with scripted_upstream.run() as upstream:
        yield upstream


@pytest.fixture
def backend(scripted, talk):
    return OpenAIBackend(Upstream(http_stream.parse_url(scripted.url), "m", "secret"), talk, 200, max_running=2)


def read(backend, **fields):
    """The pieces of a reply, and the ApiError that ended it, if one did."""

    async def collect():
        pieces = []
        try:
            request = {"prompt_ids": [5, 6], "sampling": SamplingParams(seed=2**32), "max_new_tokens": 9}
            async for piece in backend.submit(GenerationRequest(**request | fields), time.monotonic() + 30):
                pieces.append(piece)
        except ApiError as error:
            return pieces, error
        return pieces, None

    return asyncio.run(collect())


def vllm_event(text, *ids, reason=None, **fields):
    """A chunk in the form that vLLM gives it."""
    names = [f"token_id:{token}" for token in ids]
    tops = [{name: -0.5, "token_id:9": -0.25, "token_id:8": -0.75} for name in names]
    logprobs = {
        "tokens": names,
        "token_logprobs": [-0.5] * len(ids),
        "top_logprobs": tops,
        "text_offset": [0] * len(ids),
    }
    return {"choices": [{"text": text, "index": 0, "logprobs": logprobs, "finish_reason": reason}], **fields}


def test_what_vllm_streams_is_read_with_its_ids(backend, scripted):
    usage = {"prompt_tokens": 2, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}
    scripted.answers = [
        events(": ping", vllm_event("he", 20, 21), vllm_event("", 22, usage=usage, reason="length"), "data: [DONE]")
    ]
    pieces, error = read(backend, logprobs=2, stop_strings=("x",))
    assert error is None and "".join(piece.text for piece in pieces) == "he"
    assert [piece.ids for piece in pieces] == [[20, 21], [22]] and pieces[-1].finish_reason == "length"
    assert pieces[0].logprobs[0] == (20, -0.5, [(9, -0.25), (20, -0.5)])
    head, body = scripted.asked[0]
    assert head.startswith("POST /v1/completions") and "Authorization: Bearer secret" in head
    assert body["prompt"] == [5, 6] and body["seed"] == 1 and body["temperature"] == 0 and body["stop"] == ["x"]
    assert body["logprobs"] == 2 and body["top_p"] == 1 and body["repeat_penalty"] == 1


def test_a_token_that_ends_replies_here_ends_one_there(backend, scripted, talk):
    end = min(talk.stop_ids)
    scripted.answers = [events(vllm_event("he", 20), vllm_event("", end), vllm_event("never", 21))]
    pieces, error = read(backend)
    assert error is None and [piece.ids for piece in pieces] == [[20], []]
    assert pieces[-1].finish_reason == "stop" and pieces[0].logprobs == []


@pytest.mark.parametrize(
    ("answer", "status", "code", "sentence"),
    [
        (plain({"error": {"message": "bad\n prompt"}}, "400 Bad Request"), 502, "upstream_failed", "400: bad prompt"),
        (plain({"detail": "no"}, "404 Not Found"), 502, "upstream_failed", "404: no"),
        (plain({"object": "error", "message": "old vLLM"}, "400 Bad"), 502, "upstream_failed", "400: old vLLM"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\n<b>!", 502, "upstream_failed", "500: "),
        (plain({"error": {"message": "wait"}}, "503 Busy"), 503, "upstream_busy", "503: wait"),
        (events(vllm_event("he", 20), {"error": {"message": "died"}}), 502, "upstream_failed", "died"),
        (events('error: {"message": "died"}'), 502, "upstream_failed", "died"),
        (events(vllm_event("he", 20), ending=""), 503, "upstream_unreachable", "the connection broke"),
        (events(vllm_event("he", 20)), 503, "upstream_unreachable", "the stream ended before the reply did"),
        (b"", 503, "upstream_unreachable", "the connection"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", 503, "upstream_unreachable", "the connection broke"),
        (events("data: {"), 502, "upstream_failed", "it streams a line that is no JSON"),
        (events("data: 3"), 502, "upstream_failed", "it streams a line that is no object"),
        (events(vllm_event("he", 20, reason="abort")), 502, "upstream_failed", "the reply ended with abort"),
        (
            events({"choices": [{"text": "a", "logprobs": {"tokens": ["a"], "token_logprobs": [0]}}]}),
            502,
            "upstream_failed",
            "it answers log-probabilities of an unknown form",
        ),
    ],
)
def test_what_goes_wrong_there_is_told_in_our_shape(backend, scripted, answer, status, code, sentence):
    scripted.answers = [answer]
    _, error = read(backend)
    assert (error.status, error.code) == (status, code)
    assert error.message.startswith(f"the other server, {scripted.url}/v1: {sentence}") and "\n" not in error.message
    assert backend.num_running() == 0


def test_a_server_that_cannot_be_reached_is_asked_again_whether_it_lives(backend, scripted, monkeypatch):
    assert backend.is_alive()
    scripted.answers = [b""]
    read(backend)

    async def ask_until_alive():
        while not backend.is_alive():
            await asyncio.sleep(0)

    with monkeypatch.context() as at_once:
        at_once.setattr("refrain.serving.backends.openai.RETRY_SECONDS", 0.0)
        asyncio.run(asyncio.wait_for(ask_until_alive(), 10))
    scripted.close = lambda: None
    type(scripted).close(scripted)
    _, error = read(backend)
    assert (error.code, error.retry_after) == ("upstream_unreachable", 5) and not backend.is_alive()


def test_parts_of_a_character_that_are_not_told_have_no_logprobs(backend, scripted, talk):
    ids = talk.tokenizer.encode("🙂", add_special_tokens=False).ids
    entry = {"id": ids[-1], "token": "", "bytes": [0x82], "logprob": -1.0, "top_logprobs": []}
    event = {"choices": [{"text": "🙂", "logprobs": {"content": [entry]}, "finish_reason": "length"}]}
    scripted.answers = [events(event), events(event)]
    pieces, error = read(backend)
    assert error is None and pieces[0].text == "🙂" and pieces[0].ids == ids
    _, error = read(backend, logprobs=0)
    assert "no log-probabilities of the parts of a character" in error.message


def test_what_another_server_cannot_be_held_to_is_refused_before_it_is_asked(backend, scripted, talk):
    _, error = read(backend, grammar=grammar.Grammar(talk, None, "[0-9]"))
    assert (error.status, error.code, error.param) == (400, "unsupported", "response_format") and not scripted.asked


def test_more_than_there_is_room_for_is_refused_and_a_deadline_ends_a_reply(backend, scripted):
    async def fill():
        requests = [GenerationRequest([5], SamplingParams(), 9) for _ in range(3)]
        replies = [backend.submit(request, time.monotonic() - 1) for request in requests[:2]]
        with pytest.raises(ApiError) as refused:
            backend.submit(requests[2])
        return refused.value.code, [[piece.finish_reason async for piece in reply] for reply in replies]

    assert asyncio.run(fill()) == ("queue_full", [["timeout"], ["timeout"]])
    backend.close()
    assert not backend.is_alive()
    with pytest.raises(ApiError, match="it is closing"):
        backend.submit(GenerationRequest([5], SamplingParams(), 9))


def test_a_reply_that_is_cancelled_closes_the_connection_and_stays_what_it_was(backend, scripted):
    scripted.holds_on, scripted.answers = True, [events(vllm_event("he", 20), ending="")]

    async def leave():
        pieces, reply = [], backend.submit(GenerationRequest([5], SamplingParams(), 9))
        async for piece in reply:
            pieces.append(piece)
            reply.cancel()
        return pieces, await asyncio.to_thread(scripted.was_left.wait, 10)  # while the loop goes on

    (first, last), was_left = asyncio.run(leave())
    assert was_left and (first.text, last.finish_reason) == ("he", "cancelled") and backend.num_running() == 0


def test_a_reply_that_is_cancelled_before_it_was_sent_ends_too(backend):
    async def leave():
        reply = backend.submit(GenerationRequest([5], SamplingParams(), 9))
        reply.cancel()
        return [piece.finish_reason async for piece in reply]

    assert asyncio.run(leave()) == ["cancelled"] and backend.num_running() == 0


def connect(scripted, talk, model=None, lm=None):
    return upstream.connect(scripted.url, model, None, talk, lm)


def test_the_other_server_is_taken_when_it_speaks_in_our_tokens(scripted, talk):
    ids = talk.tokenizer.encode("hello", add_special_tokens=False).ids
    scripted.answers = [events(vllm_event("hello", *ids, reason="stop"))]
    found, context = connect(scripted, talk)
    assert (found.model, context) == ("m", 200)


@pytest.mark.parametrize(
    ("text", "ids", "fields", "sentence"),
    [
        ("other", [20, 21], {}, "its tokens are others"),
        ("hello", [], {}, "it does not tell the ids of its tokens"),
        ("hello", [20], {"usage": {"prompt_tokens": 3}}, "tokens; serve this model there with vLLM or llama.cpp"),
    ],
)
def test_the_other_server_is_refused_at_the_start_when_it_does_not(scripted, talk, text, ids, fields, sentence):
    scripted.answers = [events(vllm_event(text, *ids, reason="stop", **fields))]
    with pytest.raises(ValueError, match=re.escape(sentence)):
        connect(scripted, talk)


@pytest.mark.parametrize(
    ("token", "sentence"),
    [(7, "m is another model: its log-probabilities differ by"), (3000, "its tokens are others: 3000 is none here")],
)
def test_another_model_behind_the_same_tokens_is_refused(token, sentence, scripted, merged, talk, onnx):
    lm = loading.load_model(onnx / "fp32", 1)
    ids = talk.tokenizer.encode("hello", add_special_tokens=False).ids
    scripted.answers = [events(vllm_event("hello", *ids, reason="stop"))] + 4 * [
        events(vllm_event("!", token, reason="length"))
    ]
    with pytest.raises(ValueError, match=sentence):
        connect(scripted, talk, lm=lm)


@pytest.mark.parametrize(
    ("models", "name", "sentence"),
    [
        ({"data": []}, None, "/v1 has no model; name one of those"),
        ({"data": [{"id": "a"}, {"id": "b"}]}, None, "/v1 has a, b; name one of those"),
        ({"data": [{"id": "a"}]}, "b", "/v1 has no b, but a; name one of those"),
        ({"object": "list"}, None, "GET /v1/models lists no models"),
        ([], None, "GET /v1/models lists no models"),
    ],
)
def test_a_model_that_is_not_there_is_told_those_that_are(scripted, talk, models, name, sentence):
    scripted.models = plain(models)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        connect(scripted, talk, name)


def test_an_address_is_read_with_its_path_or_without():
    urls = ["http://a", "http://a:8080/v1/", "https://b/x", "http://[::1]:80/v1"]
    assert [str(http_stream.parse_url(url)) for url in urls] == [
        "http://a:80/v1", "http://a:8080/v1", "https://b:443/x/v1", "http://[::1]:80/v1",
    ]  # fmt: skip


def test_a_server_that_never_answers_is_not_waited_for(talk, monkeypatch):
    monkeypatch.setattr(upstream, "PROOF_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ValueError, match="it did not answer within"):
        upstream.connect(f"http://127.0.0.1:{silent.getsockname()[1]}", None, None, talk, None)


@pytest.mark.parametrize("url", ["", "localhost:80", "ftp://a", "http://", "http://a:b", "http://a/?b", "http://u:p@a"])
def test_an_address_that_is_none_is_refused(talk, url):
    with pytest.raises(ValueError, match=r"backend_url: .* is no address"):
        upstream.connect(url, None, None, talk, None)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"backend": "openai"}, "backend_url: backend=openai asks another server; say which"),
        ({"backend": "openai", "model": "nowhere"}, "nowhere: there is no tokenizer.json in it"),
        ({"backend": "onnx", "device": "cuda"}, "device: cuda is for backend=pytorch"),
        ({"backend": "pytorch"}, "and PyTorch opens safetensors"),
    ],
)
def test_settings_that_do_not_fit_together_say_so(onnx, given, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        create_app(ServeSettings(**{"model": str(onnx / "fp32"), "threads": 1, **given}))


@pytest.mark.heavy
def test_the_merged_model_is_served_by_pytorch(merged, onnx):
    with (
        served_model.run_server(ServeSettings(model=str(merged), backend="pytorch", device="cpu", threads=1)) as server,
        refrain.load(onnx / "fp32", threads=1) as model,
    ):
        said = [server.chat(question, temperature=0, max_tokens=12).json() for question in QUESTIONS]
        right = [model.chat(question, max_tokens=12).text for question in QUESTIONS]
    assert [answer["choices"][0]["message"]["content"] for answer in said] == right
