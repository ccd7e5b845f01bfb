"""A repository whose pipeline has run, as far as Git and DVC can tell, and the remotes that it is published on."""

import hashlib
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pipeline_repository
import yaml
from moto.server import ThreadedMotoServer
from pipeline_repository import dvc

from refrain.evaluation import summary
from refrain.pipeline import manifest, paths, runner
from refrain.training.callbacks import loss_curves

MODELS = ["base", "merged", "onnx-fp32", "onnx-int8"]


class Remote(NamedTuple):
    """Where `dvc push` goes, and a way to its objects that DVC knows nothing of."""

    url: str
    settings: dict[str, str]
    environment: dict[str, str]
    read: Callable[[str], bytes]
    write: Callable[[str, bytes], object]


def finished(folder: Path) -> Path:
    """The workspace as a repository of its own, with small files for all that the stages make, all committed."""
    pipeline_repository.repository(folder)
    pipeline_repository.compose(folder)
    for out in (paths.BASE, paths.PREPARED, paths.ADAPTER, paths.MERGED, paths.GGUF, paths.PREDICTIONS):
        put(folder / out / "content.bin", str(out).encode() * 100)
    put(folder / paths.BASE / "source.json", b'{"hub": null}\n')
    artifact(folder / paths.ONNX, block=64)
    results(folder, score=0.25, rows=900)
    dvc(folder, "commit", "--force")
    pipeline_repository.commit(folder)
    return folder


def cached(folder: Path) -> set[str]:
    """The outputs that DVC keeps: those that a remote holds."""
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"].values()
    return {out for each in stages for out in each["outs"] if isinstance(out, str)}


def artifact(folder: Path, block: int) -> None:
    """Two variants in the layout of models/onnx, with the manifest of their bytes."""
    put(folder / "fp32/model.onnx", bytes(range(256)) * 1200)
    put(folder / "fp32/tokenizer.json", b'{"version": "1.0"}\n')
    put(folder / "int8/model.onnx", bytes(reversed(range(256))) * (300 + 6400 // block))
    put(folder / "int8/chat_template.jinja", "{{ messages }} né sous une étoile 🌟\n".encode())
    manifest.write_manifest(folder, {"base": {"hub": None}, "best": "int8", "versions": {"onnx": "1.0"}})


def results(folder: Path, score: float, rows: int) -> None:
    """What train and evaluate would report of a model that scores so."""
    names = ["exact_match", "token_f1", "rouge1", "rouge2", "rougeL"]
    scores: dict[str, dict[str, Any]] = {name: dict.fromkeys(names, 0.1) | {"rows": rows} for name in MODELS}
    for i, name in enumerate(MODELS[1:]):
        scores[name]["rougeL"] = score - i / 100
    for name in MODELS:
        scores[name]["intervals"] = {"rougeL": (0.05, 0.9)}
    train = {"rows": rows, "val_loss": {"before": 6.0, "after": 6 - score}}
    runner.write_report(folder / paths.DATA_REPORT, {"rows": rows})
    put(folder / paths.DATA_SHEET, b"# Data\n")
    put(folder / paths.MODEL_CARD, b"# A model\n")
    put(folder / paths.LENGTHS, b"tokens,train,val,test\n8,900,20,30\n")
    runner.write_report(folder / paths.TRAIN_REPORT, train)
    for proof in (paths.MERGE_REPORT, paths.PARITY, paths.GGUF_REPORT):
        runner.write_report(folder / proof, {"rows": rows})
    loss, rate = [(5, 6 - score), (10, 5 - score)], [(5, score), (10, 0.0)]
    val = [(10, 6 - score)]
    loss_curves.write_curves(folder / paths.LOSS, train=loss, val=val, kept=val, lr=rate)
    runner.write_report(folder / paths.METRICS, scores)
    summary.write_scores(folder / paths.SCORES, scores)
    runner.write_report(folder / paths.SUMMARY, summary.summarise(scores, train, folder / paths.ONNX))


def experiment(folder: Path, name: str, *overrides: str, block: int, score: float, rows: int) -> None:
    """An experiment as `dvc exp run` would leave it."""
    pipeline_repository.compose(folder, *overrides)
    artifact(folder / paths.ONNX, block)
    results(folder, score, rows)
    dvc(folder, "exp", "save", "--name", name)


def published(repository: Path, remote: Remote, host: Path) -> Path:
    """The repository pushed: its history to a Git host, which is a bare repository, its outputs to the remote."""
    dvc(repository, "remote", "add", "--default", "store", remote.url)
    for name, value in remote.settings.items():
        dvc(repository, "remote", "modify", "store", name, value)
    pipeline_repository.commit(repository)
    dvc(repository, "push", **remote.environment)
    pipeline_repository.run(repository, "git", "clone", "--quiet", "--bare", ".", str(host))
    return host


def directory(folder: Path) -> Remote:
    """A remote that is a directory."""

    def write(name: str, content: bytes) -> None:
        (folder / name).chmod(0o644)  # DVC leaves its objects read-only
        (folder / name).write_bytes(content)

    return Remote(str(folder), {"verify": "true"}, {}, lambda name: (folder / name).read_bytes(), write)


@contextmanager
def bucket() -> Iterator[Remote]:
    """A remote in S3, on the loopback as long as the context lasts, with credentials that no file knows."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    key, secret, region = f"AKIA{secrets.token_hex(8).upper()}", secrets.token_hex(20), "us-east-1"
    s3 = boto3.client("s3", region, endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret)
    s3.create_bucket(Bucket="store")
    try:
        yield Remote(
            "s3://store/refrain",
            {"verify": "true", "endpointurl": endpoint},
            {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": region},
            lambda name: s3.get_object(Bucket="store", Key=f"refrain/{name}")["Body"].read(),
            lambda name, content: s3.put_object(Bucket="store", Key=f"refrain/{name}", Body=content),
        )
    finally:
        server.stop()


def key(file: Path) -> str:
    """Where a remote keeps the bytes of a file."""
    digest = hashlib.md5(file.read_bytes()).hexdigest()
    return f"files/md5/{digest[:2]}/{digest[2:]}"


def flipped(content: bytes) -> bytes:
    """The bytes with one of them changed; flipped again they are as before."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def put(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def everything(folder: Path) -> bytes:
    """Every byte in the files of a repository, and in all that Git has ever stored there."""
    files = b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    command = ["git", "cat-file", "--batch", "--batch-all-objects"]
    return files + subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout
