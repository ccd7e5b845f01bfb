import argparse
from dataclasses import asdict

import pytest
from command_line import refrain

from refrain.cli import main, options
from refrain.generation import sampling
from refrain.generation.options import sampling_params


def test_every_option_of_sampling_arrives_and_none_changes_nothing():
    bare = main.build_parser().parse_args(["chat"])
    assert sampling_params(options.generation_options(bare), None) == sampling.SamplingParams()
    wanted = {
        **{"temperature": 0.5, "top_k": 2, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.5},
        **{"presence_penalty": -1.0, "frequency_penalty": 0.25, "logit_bias": {5: -100.0, 7: 3.5}, "seed": 4},
    }
    command = ["--logit-bias", "5=-100", "--logit-bias", "7=3.5"]
    for name, value in wanted.items():
        command += [] if name == "logit_bias" else ["--" + name.replace("_", "-"), str(value)]
    given = options.generation_options(main.build_parser().parse_args(["chat", *command]))
    assert asdict(sampling_params(given, None)) == wanted


@pytest.mark.parametrize("content, message", [
    ("{", b"it is not JSON"), ("[]", b"it is no JSON schema"), ('{"type": "rune"}', b"the JSON schema: Invalid type"),
])  # fmt: skip
def test_a_file_that_holds_no_schema_is_one_sentence(model, tmp_path, content, message):
    (tmp_path / "wrong.json").write_text(content)
    done = refrain("chat", "--model", model, "--prompt", "hello", "--json-schema", tmp_path / "wrong.json")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert message in done.stderr


@pytest.mark.heavy
@pytest.mark.parametrize("options, message", [
    (["--top-p", "2"], b"refrain: top_p: 2.0 "),
    (["--seed", "-1"], b"refrain: seed: -1 "),
    (["--min-p", "nan"], b"refrain: min_p: nan "),
    (["--logit-bias", "259=1"], b"refrain: logit_bias: there is no token 259; the model's ids go from 0 to 258"),
    (["--regex", "("], b"refrain: the regular expression: unclosed group; "),
    (["--json-schema", "nowhere.json"], b"refrain: nowhere.json: no such file or directory"),
    (["--prompt", "long " * 60], b"refrain: the question: "),
])  # fmt: skip
def test_impossible_wishes_are_one_sentence(model, options, message):
    done = refrain("chat", "--model", model, "--prompt", "hello", *options)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert done.stderr.startswith(message)


@pytest.mark.parametrize("options", [
    ["--stop", ""], ["--max-new-tokens", "0"], ["--threads", "two"], ["--logit-bias", "5"], ["--logit-bias", "a=1"],
    ["--regex", "a", "--json-schema", "b"],
])  # fmt: skip
def test_values_that_mean_nothing_are_refused_before_a_model_is_opened(options):
    done = refrain("chat", "--model", "nowhere", *options)
    assert done.returncode == 2 and options[0].encode() in done.stderr


@pytest.mark.parametrize(("read", "text"), [(options.positive_int, "1.5"), (options.whole_number, "")])
def test_what_is_no_number_is_said_in_words(read, text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{text!r} is no whole number$"):
        read(text)
