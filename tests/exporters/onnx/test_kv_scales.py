"""Keys and values in 8 bits: near what fp32 keeps, with scales from training rows alone, and the same bytes again."""

from dataclasses import replace

import compact_model
import numpy as np
import pytest
import traced_model

from refrain.chat.records import write_rows
from refrain.evaluation import divergence
from refrain.exporters.onnx import fallbacks, kv_scales
from refrain.pipeline.export_schema import QuantizationConfig, Thresholds, VariantConfig
from refrain.runtime import loading

FAMILIES = ["llama", "gpt2", "wide", "gemma2"]
KV8 = QuantizationConfig(bits=8, block=32, head_bits=8, kv_bits=8)


def fill(folder, ids):
    """A model, and slots whose first has read the ids."""
    lm = loading.load_model(folder, 1)
    slots = lm.allocate_slots(1)
    slots.prefill(0, np.array(ids))
    return lm, slots


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_seen_is_kept_within_half_a_step_and_little_is_said_otherwise(family, tmp_path_factory):
    base, ids = tmp_path_factory.getbasetemp(), compact_model.SEQUENCES[0]
    fp32, few = (compact_model.build(base, family, precision) for precision in ("fp32", "kv8"))
    scales = kv_scales.measure_scales(fp32, compact_model.SEQUENCES)
    (lm, wide), (narrow_lm, narrow) = fill(fp32, ids), fill(few, ids)
    first_layer = list(zip(wide.keys_and_values(0), narrow.keys_and_values(0), scales, strict=True))[:2]
    for exact, codes, scale in first_layer:  # of it alone no layer before has rounded anything
        assert codes.dtype == np.int8 and np.abs(codes).max() <= kv_scales.CODES
        assert (np.abs(codes * scale[0] - exact) <= scale[0] * 0.501).all()
    assert narrow_lm.kv_bytes_per_token * 4 == lm.kv_bytes_per_token
    logits, rounded = divergence.sequence_logits(lm, ids), divergence.sequence_logits(narrow_lm, ids)
    assert 0 < np.abs(logits - rounded).mean() < 0.03 * logits.std(), "in 8 bits, and no more than rounded"


def test_each_channel_has_a_scale_of_its_own_with_room_above_what_was_seen(tmp_path_factory):
    folder = compact_model.build(tmp_path_factory.getbasetemp(), "llama", "fp32")
    scales = kv_scales.measure_scales(folder, compact_model.SEQUENCES)
    assert [scale.shape for scale in scales] == [(1, 2, 1, 32)] * 4 and all(len(np.unique(each)) > 3 for each in scales)
    keys = fill(folder, compact_model.SEQUENCES[3])[1].keys_and_values(0)[0]
    assert (np.abs(keys).max(1) * kv_scales.HEADROOM <= scales[0][0, :, 0] * kv_scales.CODES * 1.0001).all()


@pytest.mark.parametrize("noise", [1 - 2e-6, 1 + 2e-6])
def test_what_rounding_moves_moves_no_scale(noise):
    values = np.random.default_rng(0).uniform(0.001, 30, 2000).astype(np.float32)
    scales = kv_scales.round_up(values)
    assert (scales >= values * 0.9999).all() and (scales <= values * 1.19).all()
    assert np.array_equal(kv_scales.round_up(scales * np.float32(0.99)), scales)
    assert (kv_scales.round_up(values * np.float32(noise)) == scales).mean() > 0.999
    assert kv_scales.round_up(np.zeros(2, np.float32)).tolist() == [1, 1], "filled up heads have nothing to keep"


def test_scales_are_of_training_rows_from_all_over_their_file(rows, talk, tmp_path):
    for name in ("test", "val"):
        (tmp_path / f"{name}.jsonl").write_text("no part of this\n")
    many = [{**rows[number % len(rows)], "id": f"{number:04}"} for number in range(500)]
    write_rows(tmp_path / "train.jsonl", many)
    ids = [int(row["id"]) for row in kv_scales.spread_rows(tmp_path / "train.jsonl", 32)]
    assert len(ids) == 32 and ids == sorted(set(ids)) and ids[0] == 0 and ids[-1] > 450
    sequences = kv_scales.training_sequences(talk, tmp_path)
    assert sequences == kv_scales.training_sequences(talk, tmp_path) and len(sequences) == 32 and all(sequences)
    write_rows(tmp_path / "few.jsonl", many[:3])
    assert [row["id"] for row in kv_scales.spread_rows(tmp_path / "few.jsonl", 32)] == ["0000", "0001", "0002"]


def test_a_cache_that_costs_too_much_gives_way_before_the_weights_do():
    coarse = replace(KV8, bits=4)
    tried = fallbacks.list_settings(VariantConfig(KV8, Thresholds(top1=0.0), [coarse, replace(coarse, kv_bits=32)]))
    assert [(each.bits, each.kv_bits) for each in tried] == [(8, 8), (8, 32), (4, 8), (4, 32), (4, 32)]


def test_a_traced_graph_is_refused_by_name(tmp_path_factory):
    folder = traced_model.build(tmp_path_factory.getbasetemp() / "tiny")
    with pytest.raises(ValueError, match=r"^kv_bits=8 needs the compact graph: what optimum traces keeps keys and"):
        kv_scales.measure_scales(folder, [[1, 2, 3]])
