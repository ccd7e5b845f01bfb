"""The table and the plot of variants tell what was measured, and whether the costs in conf/ chose well."""

from xml.etree import ElementTree

import pytest

from refrain.experiments import bench, speed_plot
from refrain.experiments.bench import Speed, measure_variant, medians
from refrain.pipeline import manifest

SPEEDS = {
    "fp32": Speed(start=0.5, prefill=700, decode=60, memory=700),
    "int8": Speed(start=0.2, prefill=1000, decode=150, memory=280),
    "int4": Speed(start=0.2, prefill=900, decode=156, memory=200),
}
PROOF = {"kl": 1e-4, "top1": 0.9991, "rouge": 0.5}


@pytest.fixture
def artifact(tmp_path):
    """A function that makes the folder of an artifact with a best."""

    def make(best):
        for name in [*SPEEDS, "best"]:
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "model.onnx").write_bytes(bytes(1_000_000 * (1 + len(name) % 2)))
        proofs = {name: PROOF | {"rouge": rouge} for name, rouge in zip(SPEEDS, [0.6, 0.59, 0.4], strict=True)}
        struck = {"int2": PROOF}
        manifest.write_manifest(
            tmp_path, {"best": best, "parity": {"prompts": 9, "merged": {"kl": 0.0}, **proofs, **struck}}
        )
        return tmp_path

    return make


def test_the_table_lists_the_variants_that_passed(artifact):
    folder = artifact("int8")
    assert bench.passing_variants(folder) == ["fp32", "int8", "int4"], "neither int2, which is not there, nor best"
    out = folder / "reports/variants.md"
    text = bench.write_report(folder, SPEEDS, "a machine, 2 threads", out)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert lines[0] == bench.HEADER
    assert lines[3] == ["int8", "1.0", "0.20", "280", "1000", "150", "1.0e-04", "99.91%", "0.5900", "best"]
    assert len({len(line) for line in text.splitlines()[:5]}) == 1, "columns below each other"
    assert out.read_text().splitlines()[-1] == "![tokens a second, and ROUGE-L](variants.svg)"


@pytest.mark.parametrize("best, sentence", [
    ("int4", "models/onnx/best is int4: the fastest here, or within 5% of it."),
    ("int8", "models/onnx/best is int8: the fastest here, or within 5% of it."),
    ("fp32", "models/onnx/best is fp32, 62% slower here than int4: `dvc exp run -S export.best=int4` ships that one."),
])  # fmt: skip
def test_a_best_that_is_slow_here_is_told_with_the_way_out(best, sentence):
    assert bench.best_is_fastest(SPEEDS, best) == sentence


def test_the_plot_joins_what_no_other_beats_and_marks_the_best():
    points = {"fp32": (60, 0.6), "int8": (150, 0.59), "int4": (100, 0.4)}  # int4 is slower and worse than int8
    root = ElementTree.fromstring(speed_plot.draw_plot(points, "int8"))
    tag = "{http://www.w3.org/2000/svg}"
    names = [each.text for each in root.iter(f"{tag}text")][-3:]
    dots = dict(zip(names, root.iter(f"{tag}circle"), strict=True))
    assert [name for name, dot in dots.items() if dot.get("fill") == "#d33"] == ["int8 150"]
    joined = next(root.iter(f"{tag}polyline")).get("points").split()
    assert joined == [f"{dots[name].get('cx')},{dots[name].get('cy')}" for name in ("fp32 60", "int8 150")]
    right, left = (float(dots[name].get("cx")) for name in ("int8 150", "fp32 60"))
    assert right > left and float(dots["fp32 60"].get("cy")) < float(dots["int4 100"].get("cy")), "up is better"


def test_medians_are_taken_number_by_number():
    rounds = [{"a": Speed(1, 10, 5, 3)}, {"a": Speed(3, 30, 1, 2)}, {"a": Speed(2, 20, 9, 1)}]
    assert medians(rounds) == {"a": Speed(2, 20, 5, 2)}


def test_a_variant_is_measured(onnx):
    speed = measure_variant(onnx / "int8", threads=1)
    assert 0 < speed.start < 60 and speed.prefill > speed.decode > 1 and speed.memory > 10
