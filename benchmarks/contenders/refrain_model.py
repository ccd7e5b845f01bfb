"""This repository: its export with the values of conf/, its runtime, the likeliest token of each step."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np

from benchmarks.contenders import protocol

VALUES = Path("conf/export/cpu.yaml")
MAX_ROWS = 32  # that decode at once


def make(source: Path, out: Path, precision: str) -> int:
    from benchmarks.contenders import onnx_weights

    export_variant(source, out, precision)
    return onnx_weights.bytes_per_token(out / "model.onnx")


def export_variant(source: Path, out: Path, name: str) -> None:
    """The folder that the runtime serves: fp32, int8 or int4 as in conf/, or with blocks of the size behind a dash."""
    from omegaconf import OmegaConf

    from refrain.exporters.onnx import exporter
    from refrain.pipeline import export_schema

    values = OmegaConf.load(VALUES)
    preset, _, block = name.partition("-")
    variant = values.variants[preset]
    if block:
        variant.weights.block, variant.weights.activations = int(block), None
    values.variants = {name: variant}
    cfg = cast(export_schema.ExportConfig, OmegaConf.to_object(OmegaConf.merge(export_schema.ExportConfig, values)))
    exporter.export_variants(source, out.parent, cfg)


def open_model(folder: Path, threads: int) -> protocol.Generate:
    from refrain.runtime import loading

    slots = loading.load_model(folder, threads).allocate_slots(MAX_ROWS)

    def stream(prompt: list[int], new: int, rows: int) -> Iterator[int]:
        for row in range(rows):
            slots.crop(row, 0)
            logits = slots.prefill(row, np.array(prompt))
        tokens = np.repeat(logits.argmax(-1), rows)
        for _ in range(new - 1):
            yield int(tokens[0])
            tokens = slots.decode(tokens).argmax(-1)
        yield int(tokens[0])

    return lambda prompt, new, rows: protocol.time_tokens(stream(prompt, new, rows))


if __name__ == "__main__":
    protocol.run(make, open_model)
