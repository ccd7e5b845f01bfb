"""A graph, open in ONNX Runtime on the CPU, and what both kinds of sessions share: how much is fed at once."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime import InferenceSession

from refrain.chat.model_folder import read_attention_heads
from refrain.pipeline.cores import available_cores
from refrain.runtime import huge_pages, onnx_folder
from refrain.runtime.kv_memory import KVType

PREFILL_CHUNK = 64  # tokens of a prompt in one call
KV_TYPES: dict[str, KVType] = {  # of numpy, by what ONNX Runtime calls them
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(int8)": np.dtype(np.int8),
}
SPIN_MICROSECONDS = 50  # for which a thread that waits keeps its core: more takes it from others and gains nothing


def open_session(folder: Path, threads: int | None, prepacking: bool = True) -> InferenceSession:
    """The graph in a folder; ValueError when there is none, or none that runs here.

    Without prepacking fp32 weights stay as they are in the file: it opens at once, and multiplies more slowly.
    """
    path = folder / onnx_folder.GRAPH
    if not onnx_folder.has_model(folder):
        raise ValueError(f"{path}: no such file; `dvc pull models/onnx` fetches it, `dvc repro` makes it")
    options = onnxruntime.SessionOptions()
    # With more threads than heads, attention shares out a row that is alone, and rounds it otherwise than in company.
    options.intra_op_num_threads = threads or min(available_cores(), read_attention_heads(folder))
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_MICROSECONDS))
    options.add_session_config_entry("session.disable_prepacking", str(int(not prepacking)))
    options.log_severity_level = 4  # fatal only: errors come back as exceptions
    try:
        with huge_pages.use_huge_pages(onnx_folder.model_bytes(folder)):
            return InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no narrower class
        way_out = f"`refrain check {folder}` verifies its checksums"
        raise ValueError(f"{path}: it does not open ({error}); {way_out}") from error


def past_names(session: InferenceSession) -> list[str]:
    """The inputs that hold keys and values; ValueError when there are none."""
    names = [value.name for value in session.get_inputs() if value.name.startswith("past_key_values.")]
    if not names:
        raise ValueError("model.onnx: it takes no past; export it as text-generation-with-past")
    return names


def extended_length(length: int, count: int, context: int) -> int:
    """The length of a sequence with so many more tokens; ValueError for none, and for more than the model sees."""
    if count == 0:
        raise ValueError("the prompt: it has no ids; a model needs one to begin with")
    if length + count > context:
        raise ValueError(f"{length + count} tokens: the model sees {context} at once; shorten the text")
    return length + count


def prefill_chunks(begin: int, end: int) -> list[tuple[int, int]]:
    """Where a prompt is cut: at multiples of PREFILL_CHUNK, counted from the beginning of its sequence.

    So sequences that begin alike begin with the same calls, and what these leave is the same to the last bit, whatever
    a kernel does with queries in tiles, with sums in blocks or with a scale for all tokens of a call.
    """
    first_cut = begin // PREFILL_CHUNK * PREFILL_CHUNK + PREFILL_CHUNK
    return list(pairwise([begin, *range(first_cut, end, PREFILL_CHUNK), end]))
