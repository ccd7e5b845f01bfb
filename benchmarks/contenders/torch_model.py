"""PyTorch through transformers, at the precision of the saved weights."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from benchmarks.contenders import generation, protocol

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def make(source: Path, out: Path, precision: str) -> int:
    model = AutoModelForCausalLM.from_pretrained(source, dtype=TYPES[precision])
    model.save_pretrained(out)
    head = model.get_output_embeddings().weight
    tables = {module.weight for module in model.modules() if isinstance(module, torch.nn.Embedding)} - {head}
    return sum(weight.nbytes for weight in set(model.parameters()) - tables)


def open_model(folder: Path, threads: int) -> protocol.Generate:
    torch.set_num_threads(threads)
    return generation.generate_with(AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval())


if __name__ == "__main__":
    protocol.run(make, open_model)
