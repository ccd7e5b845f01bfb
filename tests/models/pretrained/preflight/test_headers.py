import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from refrain.models.pretrained.preflight import headers


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"table": np.ones((6, 4), np.float32), "norm": np.ones(4, np.float16)}, path, {"format": "pt"})
    return path


def test_names_types_and_shapes_are_those_of_the_file(file):
    assert headers.read_headers(file.parent) == {
        "table": headers.TensorHeader("model.safetensors", "F32", (6, 4)),
        "norm": headers.TensorHeader("model.safetensors", "F16", (4,)),
    }


def test_a_tensor_in_two_shards_is_refused_by_name(file):
    for shard, name in (("a.safetensors", "norm"), ("b.safetensors", "table")):
        save_file({name: np.ones(4, np.float32), "bias": np.zeros(2, np.float32)}, file.with_name(shard))
    file.unlink()
    index = {"weight_map": {"norm": "a.safetensors", "table": "b.safetensors", "bias": "a.safetensors"}}
    file.with_name("model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"b\.safetensors: it and a\.safetensors both hold the tensor 'bias'"):
        headers.read_headers(file.parent)


def test_weights_without_values_have_the_size_and_the_names_of_the_file(file, tmp_path):
    headers.write_without_values(tmp_path / "hole", headers.read_header(file))
    assert (tmp_path / "hole").stat().st_size == file.stat().st_size
    with safe_open(tmp_path / "hole", "numpy") as tensors:
        assert set(tensors.keys()) == {"table", "norm"} and not tensors.get_tensor("table").any()


@pytest.mark.parametrize("content", [b"", b"\x02\0\0\0\0\0\0\0[]", b"\xff" * 8, b"\x09\0\0\0\0\0\0\0{"])
def test_what_is_no_safetensors_file_is_one_sentence(tmp_path, content):
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(ValueError, match="m: it is cut short or not safetensors; fetch it again"):
        headers.read_header(tmp_path / "m")
