"""What merging will leave can be judged before: the same names, shapes and fields."""

import json

from safetensors.numpy import load_file
from transformers import GPT2Config, GPT2LMHeadModel

from refrain.exporters.architectures.exporter_choice import choose_exporter
from refrain.models.pretrained.preflight.outline import merged_outline


def shapes(folder):
    return {name: tensor.shape for name, tensor in load_file(folder / "model.safetensors").items()}


def test_the_outline_of_a_base_has_the_names_shapes_and_fields_of_what_is_merged_from_it(base, merged):
    with merged_outline(base) as outline:
        assert shapes(outline) == shapes(merged)
        fields = [json.loads((folder / "config.json").read_text()) for folder in (outline, merged)]
        assert fields[0] == fields[1]
        assert choose_exporter(outline) == choose_exporter(merged)


def test_a_table_that_is_the_head_too_is_in_it_once(tmp_path):
    GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=2, n_positions=16)).save_pretrained(tmp_path)
    with merged_outline(tmp_path) as outline:
        assert shapes(outline) == shapes(tmp_path)
