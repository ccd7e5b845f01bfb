"""`refrain.load`: the model from Python says what the server and the commands say."""

import asyncio
import doctest
import gc
import json
import re
import subprocess
import sys
import threading

import pytest
import served_model
import tool_templates
import traced_model
from places import ROOT

import refrain
from refrain.cli import main
from refrain.serving.settings.schema import ServeSettings

MANNER = {"temperature": 1.5, "seed": 7, "max_tokens": 24}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return served_model.build(tmp_path_factory.mktemp("asked"))


@pytest.fixture(scope="module")
def model(folder):
    with refrain.load(folder, threads=1, max_num_seqs=3) as model:
        yield model


@pytest.fixture(scope="module")
def server(folder):
    with served_model.run_server(ServeSettings(model=str(folder), threads=1)) as server:
        yield server


def test_python_the_server_and_the_commands_give_the_same_bytes(model, server, folder, tmp_path, capsys):
    turns = [{"role": "system", "content": "Be 🙂."}, {"role": "user", "content": "a<|im_end|>b é"}]
    answer = model.chat(turns, logprobs=2, **MANNER)
    served = server.post("/v1/chat/completions", {"messages": turns, **MANNER}).json()
    (tmp_path / "asked.jsonl").write_text(json.dumps({"messages": turns}))
    options = ["--input", str(tmp_path / "asked.jsonl"), "--max-new-tokens", "24", "--logprobs", "2", "--threads", "1"]
    main.main(["generate", "--model", str(folder), *options, "--temperature", "1.5", "--seed", "7"])
    row = json.loads(capsys.readouterr().out)
    assert answer.text == served["choices"][0]["message"]["content"] == row["reply"] != ""
    assert [round(token.top[0].logprob, 4) for token in answer.logprobs] == [
        max(token["top"].values()) for token in row["logprobs"]
    ]
    assert answer.refrain["seal"].startswith(served["system_fingerprint"])
    assert answer.refrain["variant"] == "int8" and answer.refrain["seed"] == 7


def test_replies_are_those_alone_in_a_batch_in_threads_and_in_an_event_loop(model):
    prompts = [f"{'hello 🙂 ' * number}?" for number in (1, 30, 2, 40, 3, 12, 4)]
    alone = [model.chat(prompt, **MANNER) for prompt in prompts]
    assert [answer.text for answer in model.batch(prompts, **MANNER)] == [answer.text for answer in alone]
    said = {}

    def ask(number):
        stream = model.stream(prompts[number], **MANNER)
        said[number] = "".join(stream), stream.answer.ids

    threads = [threading.Thread(target=ask, args=[number]) for number in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [said[number] for number in range(len(prompts))] == [(answer.text, answer.ids) for answer in alone]

    async def ask_all():
        async def read(prompt):
            return "".join([piece async for piece in model.astream(prompt, **MANNER)])

        return await asyncio.gather(*map(read, prompts)), await model.abatch(prompts, **MANNER)

    streamed, answers = asyncio.run(ask_all())
    assert streamed == [answer.text for answer in answers] == [answer.text for answer in alone]


def test_a_seed_is_drawn_and_says_the_same_again(model):
    first, second = (model.chat("hello", temperature=1.5, max_tokens=24) for _ in range(2))
    assert first.seed != second.seed and first.text != second.text
    assert model.chat("hello", temperature=1.5, max_tokens=24, seed=first.seed).ids == first.ids


def test_log_probabilities_of_a_reply_are_those_of_reading_it(model):
    said = model.chat("hello", max_tokens=8, logprobs=0)
    read = model.logprobs("hello", said.text)
    assert [token.id for token in read[:2]] == said.ids[:2] and read[-1].token == "<|im_end|>"
    assert [token.logprob for token in read[:2]] == pytest.approx([t.logprob for t in said.logprobs[:2]], abs=0.05)
    assert all(token.top == [] for token in said.logprobs)
    assert model.score("hello", said.text) == pytest.approx(sum(token.logprob for token in read))
    assert model.score("hello", said.text) > model.score("hello", said.text[::-1])


def test_a_schema_a_class_or_a_pattern_shapes_the_reply(model):
    class Weather:
        @staticmethod
        def model_json_schema():
            return {"type": "object", "properties": {"wet": {"type": "boolean"}}, "required": ["wet"],
                    "additionalProperties": False}  # fmt: skip

    shaped = [model.chat("hello", schema=schema).text for schema in (Weather, Weather.model_json_schema())]
    assert shaped[0] == shaped[1] and json.loads(shaped[0])["wet"] in (True, False)
    assert model.chat("hello", regex="[0-9]{3}").text.isdigit()


def test_a_text_goes_on_without_a_template(model):
    ids = model.tokenize("<|im_start|>é")
    assert len(ids) == 3 and model.detokenize(ids) == "<|im_start|>é"
    answer = model.complete("<|im_start|>é", max_tokens=3)
    assert answer.usage.prompt_tokens == 3 and len(answer.ids) <= 3
    whole = model.complete("hello", **MANNER).text
    assert len(whole) > 2 and model.complete("hello", stop=[whole[1:]], **MANNER).text == whole[0]


def test_whoever_stops_reading_ends_the_reply(model):
    alone = model.chat("there", **MANNER).text
    streams = [model.stream("hello", temperature=1, max_tokens=900) for _ in range(5)]  # more than there are slots
    for stream in streams:
        for _piece in stream:
            break
    gc.collect()
    assert model.chat("there", **MANNER).text == alone
    assert all(stream.reply.has_ended() for stream in streams)
    stream = model.stream("hello", max_tokens=900)
    stream.close()
    assert list(stream) == [] and stream.answer.finish_reason == "cancelled"

    async def leave():
        task = asyncio.create_task(model.achat("hello", max_tokens=900))
        await asyncio.sleep(0)
        task.cancel()
        return await model.achat("there", **MANNER)

    assert asyncio.run(leave()).text == alone


def test_streams_that_are_read_in_turns_all_come_to_an_end(model):
    prompts = [f"hello {number}" for number in range(5)]
    streams = [model.stream(prompt, **MANNER) for prompt in prompts]
    readers, texts = [iter(stream) for stream in streams], [""] * 5
    while any(stream.answer.finish_reason == "cancelled" for stream in streams):
        texts = [text + next(reader, "") for text, reader in zip(texts, readers, strict=True)]
    texts = [text + "".join(reader) for text, reader in zip(texts, readers, strict=True)]
    assert texts == [model.chat(prompt, **MANNER).text for prompt in prompts]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"temperature": "hot"}, "temperature: expected `float`, got `str`"),
        ({"temperature": -1}, "temperature: -1.0 is out of range; give 0, the likeliest token, or more"),
        ({"logit_bias": {10**6: 1}}, "logit_bias: there is no token 1000000"),
        ({"max_tokens": 0}, "max_tokens: 0 is out of range"),
        ({"logprobs": -1}, "logprobs: -1 is out of range"),
        ({"stop": ""}, "stop: an empty text would end every reply at once"),
        ({"stop": ["a", ""]}, "stop: an empty text would end every reply at once"),
        ({"schema": "object"}, "schema: it is no JSON schema"),
        ({"schema": {"const": {1, 2}}}, "schema: it is not JSON"),
        ({"schema": {}, "regex": "a"}, "the grammar: a JSON schema and a regular expression exclude each other"),
        ({"regex": "("}, "the regular expression: unclosed group"),
    ],
)
def test_an_option_without_a_meaning_is_refused(model, options, sentence):
    with pytest.raises(ValueError) as refused:
        model.chat("hello", **options)
    assert str(refused.value).startswith(sentence) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        (None, "messages: they ask nothing"),
        ([], "messages: they ask nothing"),
        ({"role": "user", "content": "a"}, "messages: they ask nothing"),
        (["hello"], "messages: they ask nothing"),
        ([{"role": "robot", "content": "a"}], "messages: turn 1 has the role 'robot'"),
        ([{"role": "user", "content": None}], "messages: content of turn 1 is null"),
        (
            [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
            "messages: the assistant has the last word",
        ),
        ("hello " * 400, "the prompt: 24"),
    ],
)
def test_a_prompt_that_asks_nothing_is_refused_and_in_a_batch_before_anything_is_said(model, prompt, sentence):
    with pytest.raises(ValueError) as refused:
        model.chat(prompt, max_tokens=1)
    assert str(refused.value).startswith(sentence)
    with pytest.raises(ValueError) as refused:
        model.batch(["hello", prompt], max_tokens=1)
    assert str(refused.value).startswith(f"prompt 2: {sentence}")


def test_a_name_that_is_no_option_is_told_the_near_one(model):
    with pytest.raises(TypeError) as refused:
        model.chat("hello", tempratur=1)
    assert str(refused.value) == "tempratur: there is no such option; did you mean temperature?"


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "what falls", "parameters": CITY}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Bergen"}}\n</tool_call>'


def test_tools_are_refused_by_a_template_without_them(model):
    with pytest.raises(ValueError) as refused:
        model.chat("hello", tools=[TOOL])
    assert "tools" in str(refused.value)


def test_calls_are_read_and_go_back_with_their_results(tmp_path):
    folder = served_model.build(tmp_path, tool_templates.TOOL_TEMPLATES["qwen2_5"])
    with refrain.load(folder, threads=1) as model:
        pattern = re.escape(f"Let me look.\n{CALL}").replace("\\ ", " ").replace("\\\n", "\n")
        answer = model.chat("Rain?", tools=[TOOL], regex=pattern)
        assert answer.content.strip() == "Let me look." and answer.text.endswith(CALL)
        assert [call["function"] for call in answer.tool_calls] == [
            {"name": "weather", "arguments": {"city": "Bergen"}}
        ]
        result = {"role": "tool", "content": "rain", "tool_call_id": answer.tool_calls[0]["id"]}
        ids = model.encode([{"role": "user", "content": "Rain?"}, answer.message, result], [TOOL])
        assert CALL in model.detokenize(ids) and "<tool_response>\nrain" in model.detokenize(ids)
        assert model.chat("Rain?", regex=pattern).tool_calls == []


def test_a_role_that_the_template_leaves_out_is_not_left_out_in_silence(tmp_path):
    deaf = traced_model.TEMPLATE.replace("in messages %", "in messages if m.role != 'system' %")
    folder = served_model.build(tmp_path, deaf)
    with refrain.load(folder, threads=1) as model, pytest.raises(ValueError, match="leaves out what one of these"):
        model.chat([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}])


def test_a_closed_model_and_a_folder_without_one_say_so(folder, tmp_path):
    model = refrain.load(folder / "fp32", threads=1)
    stream = model.stream("hello")
    model.close()
    model.close()
    for ask in (lambda: model.chat("hello"), lambda: list(stream), lambda: model.score("hello", "a")):
        with pytest.raises(ValueError) as refused:
            ask()
        assert str(refused.value) == "the model: it is closed; load it again"
    with pytest.raises(ValueError):
        refrain.load(tmp_path)
    with pytest.raises(ValueError, match="threads: 0 is out of range"):
        refrain.load(folder, threads=0)


def test_the_page_says_what_happens(folder, tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/onnx").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testfile(str(ROOT / "docs/python.md"), module_relative=False, optionflags=flags)
    assert found.failed == 0 and found.attempted > 20


@pytest.mark.heavy
def test_pytorch_says_what_the_exported_model_says(merged, onnx):
    with (
        refrain.load(merged, backend="pytorch", threads=1) as torch,
        refrain.load(onnx / "fp32", threads=1) as exported,
    ):
        ours, theirs = (model.batch(["hello", "the user"], max_tokens=12) for model in (torch, exported))
        assert [answer.ids for answer in ours] == [answer.ids for answer in theirs]
    with pytest.raises(ValueError, match="and PyTorch opens safetensors"):
        refrain.load(onnx / "fp32", backend="pytorch")
    with pytest.raises(ValueError, match="device: cuda is for backend=pytorch"):
        refrain.load(onnx / "fp32", device="cuda")
    with pytest.raises(ValueError, match="backend: there is no vllm"):
        refrain.load(onnx / "fp32", backend="vllm")


@pytest.mark.heavy
def test_importing_refrain_loads_nothing_and_a_model_no_torch(folder):
    code = (
        "import sys, refrain\n"
        "assert not {'onnxruntime', 'numpy', 'msgspec', 'tokenizers'} & sys.modules.keys()\n"
        f"refrain.load({str(folder)!r}).chat('hello', max_tokens=2)\n"
        "assert not {'torch', 'transformers', 'starlette', 'uvicorn'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
