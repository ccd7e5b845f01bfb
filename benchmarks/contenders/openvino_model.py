"""OpenVINO: optimum-intel's export with its weights in few bits, symmetric, in a loop of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders import protocol

SETTINGS = {"int8": {"bits": 8, "sym": True}, "int4": {"bits": 4, "sym": True, "group_size": 64}}
GRAPH = "openvino_model.xml"


def make(source: Path, out: Path, precision: str) -> int:
    from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig

    settings = OVWeightQuantizationConfig(**SETTINGS[precision])
    OVModelForCausalLM.from_pretrained(
        source, export=True, compile=False, quantization_config=settings
    ).save_pretrained(out)
    return (out / GRAPH).with_suffix(".bin").stat().st_size


def open_model(folder: Path, threads: int) -> protocol.Generate:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(keep_last_logits(core.read_model(folder / GRAPH)), "CPU", settings)
    request = compiled.create_infer_request()

    def stream(prompt: list[int], new: int, rows: int) -> Iterator[int]:
        request.reset_state()
        ids, length = np.tile(np.array(prompt), (rows, 1)), len(prompt)
        for _ in range(new):
            first = length - ids.shape[1]
            inputs = {
                "input_ids": ids,
                "attention_mask": np.ones((rows, length), dtype=np.int64),
                "position_ids": np.tile(np.arange(first, length), (rows, 1)),
                "beam_idx": np.arange(rows, dtype=np.int32),
            }
            request.infer(inputs)
            ids = request.get_tensor("logits").data[:, -1:].argmax(-1)
            length += 1
            yield int(ids[0, 0])

    return lambda prompt, new, rows: protocol.time_tokens(stream(prompt, new, rows))


def keep_last_logits(model: Any) -> Any:
    """The model without logits of a prompt that nobody reads, as OpenVINO GenAI cuts them off."""
    from openvino import opset13 as operators

    head = next(node for node in reversed(model.get_ordered_ops()) if node.get_type_name() == "MatMul")
    hidden = head.input(0).get_source_output()
    last, axis = operators.constant([-1], dtype=np.int64), operators.constant(1, dtype=np.int64)
    head.input(0).replace_source_output(operators.gather(hidden, last, axis).output(0))
    model.validate_nodes_and_infer_types()
    return model


if __name__ == "__main__":
    protocol.run(make, open_model)
