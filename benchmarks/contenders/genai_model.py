"""onnxruntime-genai: its model builder and its generator."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.contenders import protocol

LAST_LOGITS = "prune_lm_head=true"  # of a prompt only those after its last token
OPTIONS = {"int8": ["shared_embeddings=false"]}  # with a shared table 0.15.2 writes int8 files that do not open


def make(source: Path, out: Path, precision: str) -> int:
    from benchmarks.contenders import onnx_weights

    with tempfile.TemporaryDirectory() as cache:
        builder = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        arguments = [
            "-i",
            str(source),
            "-o",
            str(out),
            "-p",
            precision,
            "-e",
            "cpu",
            "-c",
            cache,
            "--extra_options",
            LAST_LOGITS,
        ]
        arguments += OPTIONS.get(precision, [])
        done = subprocess.run([*builder, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    path = out / "genai_config.json"
    config = json.loads(path.read_text())
    config["model"] |= {"eos_token_id": 0, "pad_token_id": 0}  # it opens no model without
    path.write_text(json.dumps(config))
    return onnx_weights.bytes_per_token(out / "model.onnx")


def open_model(folder: Path, threads: int) -> protocol.Generate:
    stream = open_stream(folder, threads)
    return lambda prompt, new, rows: protocol.time_tokens(islice(stream(prompt, new, rows), new))


def open_stream(folder: Path, threads: int) -> Callable[..., Iterator[int]]:
    """A function from a prompt, how many new tokens, and how many rows, to each token of the first as it is known."""
    import onnxruntime_genai

    config = onnxruntime_genai.Config(str(folder))
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
    model = onnxruntime_genai.Model(config)

    def stream(prompt: list[int], new: int, rows: int = 1) -> Iterator[int]:
        length = len(prompt) + new
        params = onnxruntime_genai.GeneratorParams(model)
        ends = {"min_length": length, "max_length": length}  # the former, so that none comes early
        params.set_search_options(do_sample=False, batch_size=rows, **ends)
        generator = onnxruntime_genai.Generator(model, params)
        generator.append_tokens(np.tile(np.array(prompt, dtype=np.int32), (rows, 1)))
        while not generator.is_done():
            generator.generate_next_token()
            yield int(generator.get_next_tokens()[0])

    return stream


if __name__ == "__main__":
    protocol.run(make, open_model)
