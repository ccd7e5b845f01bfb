"""What a run leaves to look at: the same bytes for the same facts, drawn by DVC, compared by one number."""

import pytest

from refrain.evaluation import summary as tracking
from refrain.pipeline import manifest


def test_the_number_to_sort_by_is_that_of_the_variant_that_is_shipped(tmp_path):
    for name in ("fp32", "int8", "int4", "best"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_bytes(b"graph")
    manifest.write_manifest(tmp_path, {"best": "int4"})
    results = {
        name: {"rougeL": i / 10, "intervals": {"rougeL": (i / 10 - 0.1, i / 10 + 0.1)}}
        for i, name in enumerate(["base", "merged", "onnx-fp32", "onnx-int4", "onnx-int8"])
    }
    summary = tracking.summarise(results, {"rows": 3, "val_loss": {"after": 1.5}}, tmp_path)
    assert summary["rougeL"] == {"base": 0.0, "merged": 0.1, "fp32": 0.2, "int4": 0.3, "int8": 0.4, "best": 0.3}
    assert (summary["rougeL_low"]["best"], summary["rougeL_high"]["best"]) == pytest.approx((0.2, 0.4))
    assert summary["MB"].keys() == {"fp32", "int8", "int4"}
