"""What leaves the repository: the artifact through a remote, and the outcome of experiments for people to compare."""

import csv
import json
import re
import shutil

import pipeline_repository
import pytest
import remote_repository
from pipeline_repository import dvc

from refrain.cli import main
from refrain.pipeline import paths

pytestmark = pytest.mark.heavy
ONNX = str(paths.ONNX)
WEIGHTS = paths.ONNX / "fp32/model.onnx"
NOISE = r".*/|conf$|composed|data\.(folder|sources)"  # columns of checksums and of lists
FULL = {"method.name": "full", "train.lr": "0.0003", "rows": "900", "rougeL.merged": "0.5", "rougeL.int8": "0.48"}
SCORES_TITLE = "ROUGE-L on the test rows"
MORE = {"method.name": "lora", "train.lr": "0.001", "rows": "1800", "rougeL.merged": "0.75", "rougeL.int8": "0.73"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A repository whose pipeline has run."""
    return remote_repository.finished(tmp_path_factory.mktemp("finished") / "repository")


@pytest.fixture(scope="module", params=["directory", "s3"])
def remote(request, tmp_path_factory):
    if request.param == "directory":
        yield remote_repository.directory(tmp_path_factory.mktemp("store"))
    else:
        with remote_repository.bucket() as bucket:
            yield bucket


@pytest.fixture(scope="module")
def published(finished, remote, tmp_path_factory):
    """A folder with the finished repository, pushed, and the Git host that it was pushed to."""
    folder = tmp_path_factory.mktemp("published")
    shutil.copytree(finished, folder / "repository", symlinks=True)
    remote_repository.published(folder / "repository", remote, folder / "host")
    return folder


@pytest.fixture
def clone(published, tmp_path):
    """A clone of the published repository, with nothing pulled yet."""
    pipeline_repository.run(tmp_path, "git", "clone", "--quiet", str(published / "host"), "clone")
    return tmp_path / "clone"


@pytest.fixture
def damaged(published, remote):
    """Flip a byte of the weights in the remote, until the test is over."""
    key = remote_repository.key(published / "repository" / WEIGHTS)
    remote.write(key, remote_repository.flipped(remote.read(key)))
    yield
    remote.write(key, remote_repository.flipped(remote.read(key)))


@pytest.fixture(scope="module")
def compared(finished, tmp_path_factory):
    """The finished repository with two experiments; the later one, `more`, is in the workspace."""
    folder = shutil.copytree(finished, tmp_path_factory.mktemp("compared") / "repository", symlinks=True)
    remote_repository.experiment(folder, "full", "method=full", "train.lr=0.0003", block=64, score=0.5, rows=900)
    data = ["data=files", "data.sources=[{path: data/raw/questions.jsonl}]"]
    more = [*data, "train.lr=0.001", "export.variants.int4.weights.block=64"]
    remote_repository.experiment(folder, "more", *more, block=32, score=0.75, rows=1800)
    return folder


def check(folder, capsys):
    """The exit code of `refrain check` and the lines that it printed."""
    code = main.main(["check", str(folder)])
    return code, capsys.readouterr().out.splitlines()


def table(text):
    """The rows of a printed table by what stands in their first column, each by column."""
    header, *rows = [re.split(r" {2,}", line.strip()) for line in text.splitlines() if line.strip(" ─")]
    return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


def specifications(page):
    """The Vega specifications in a page of plots, by the title of the plot."""
    text, found = page.read_text(encoding="utf-8"), {}
    for start in re.finditer("var spec = ", text):
        specification, _ = json.JSONDecoder().raw_decode(text, start.end())
        found[specification["title"]["text"]] = specification
    return found


def values(specification, *columns):
    """The data of a plot as sorted tuples."""
    return sorted(tuple(row[column] for column in columns) for row in specification["data"]["values"])


def lines(file, *columns):
    """A CSV or TSV file as sorted tuples."""
    with file.open(newline="") as rows:
        return sorted(
            tuple(row[column] for column in columns)
            for row in csv.DictReader(rows, delimiter="\t" if file.suffix == ".tsv" else ",")
        )


def test_pull_fetches_the_artifact_whole_and_nothing_else(clone, remote, capsys):
    dvc(clone, "pull", ONNX, **remote.environment)
    assert check(clone / ONNX, capsys) == (0, ["OK, 4 files match"])
    assert {out for out in remote_repository.cached(clone) if (clone / out).exists()} == {ONNX}
    assert len(list((clone / ".dvc/cache/files/md5").glob("*/*"))) == 6  # those, the manifest and the folder


@pytest.mark.parametrize("remote", ["directory"], indirect=True)
def test_push_leaves_nothing_behind(published, clone, remote):
    dvc(clone, "pull", **remote.environment)
    for out in remote_repository.cached(clone):
        pipeline_repository.run(clone, "diff", "-r", out, str(published / "repository" / out))
    assert pipeline_repository.run(clone, "git", "status", "--porcelain") == ""


def test_pull_refuses_a_byte_that_was_flipped_in_the_remote(clone, remote, damaged):
    said = dvc(clone, "pull", ONNX, fails=True, **remote.environment)
    assert f"Checkout failed for following targets:\n{ONNX}\n" in said
    assert not (clone / WEIGHTS).exists()


def test_get_takes_a_byte_that_was_flipped_in_the_remote_and_check_names_the_file(
    published, remote, damaged, tmp_path, capsys
):
    dvc(tmp_path, "get", str(published / "host"), ONNX, "-o", "mine", **remote.environment)
    assert check(tmp_path / "mine", capsys) == (1, ["fp32/model.onnx: checksum mismatch"])


def test_check_names_each_file_that_came_to_harm_after_get(published, remote, tmp_path, capsys):
    mine = tmp_path / "mine"
    dvc(tmp_path, "get", str(published / "host"), ONNX, "-o", "mine", **remote.environment)
    assert check(mine, capsys) == (0, ["OK, 4 files match"])
    (mine / "int8/model.onnx").write_bytes(remote_repository.flipped((mine / "int8/model.onnx").read_bytes()))
    assert check(mine, capsys) == (1, ["int8/model.onnx: checksum mismatch"])
    (mine / "fp32/tokenizer.json").unlink()
    (mine / "guest.py").touch()
    assert check(mine, capsys) == (
        1,
        [
            "fp32/tokenizer.json: it is listed but missing",
            "guest.py: it is there but not listed",
            "int8/model.onnx: checksum mismatch",
        ],
    )


@pytest.mark.parametrize("remote", ["s3"], indirect=True)
def test_no_secret_is_in_the_repository_its_history_or_the_artifact(published, remote):
    for folder in (published / "repository", published / "host"):
        content = remote_repository.everything(folder)
        assert remote.settings["endpointurl"].encode() in content  # what may be known of the remote is found
        assert remote.environment["AWS_ACCESS_KEY_ID"].encode() not in content
        assert remote.environment["AWS_SECRET_ACCESS_KEY"].encode() not in content


def test_experiments_are_compared_in_a_readable_table(compared):
    printed = dvc(compared, "exp", "show", "--only-changed", "--drop", NOISE)
    shown = {re.sub(r".*\[(.*)\]", r"\1", name): row for name, row in table(printed).items()}
    assert FULL.items() <= shown["full"].items()
    assert MORE.items() <= shown["more"].items()
    assert float(shown["more"]["MB.int8"]) > float(shown["full"]["MB.int8"])
    assert max(len(cell) for row in shown.values() for cell in row.values()) < 20  # no checksum and no list
    assert "rougeL.base" not in shown["full"]  # it is the same model everywhere


def test_metrics_of_two_experiments_are_set_against_each_other(compared):
    printed = dvc(compared, "metrics", "diff", "full", "more")
    changes = {line.split()[1]: line.split()[2:] for line in printed.splitlines()}
    assert changes["rougeL.fp32"] == ["0.49", "0.74", "0.25"]
    assert changes["rows"] == ["900", "1800", "900"]


def test_the_plots_show_what_the_reports_hold(compared, tmp_path):
    dvc(compared, "plots", "show", "--out", str(tmp_path))
    plots = specifications(tmp_path / "index.html")
    loss, scores = plots.pop("Loss: training (thin, smoothed) and validation (bold)"), plots.pop(SCORES_TITLE)
    rate, rows = plots.pop("Learning rate"), plots.pop("Rows by length")
    assert not plots
    drawn = {(row["tokens"], row["train"], row["val"], row["test"]) for row in rows["data"]["values"]}
    assert drawn == {("8", "900", "20", "30")}
    curves = compared / paths.LOSS / "plots/metrics"
    points = [(f"{name}/loss.tsv", *point) for name in ("train", "val", "kept")
              for point in lines(curves / name / "loss.tsv", "step", "loss")]  # fmt: skip
    assert values(loss, "filename", "step", "loss") == sorted(points)
    assert values(rate, "step", "lr") == lines(curves / "train/lr.tsv", "step", "lr")
    columns = "model", "score", "low", "high", "rows"
    assert values(scores, *columns) == lines(compared / paths.SCORES, *columns)


def test_every_bar_is_one_score(compared, tmp_path):
    dvc(compared, "plots", "diff", "full", "more", "--out", str(tmp_path))
    scores = specifications(tmp_path / "index.html")[SCORES_TITLE]
    drawn = [(row["rev"], row["model"], row.get("filename")) for row in scores["data"]["values"]]
    assert {revision for revision, *_ in drawn} == {"full", "more"}
    assert len(drawn) == len(set(drawn))
