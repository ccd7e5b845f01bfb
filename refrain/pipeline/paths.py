"""Where stages read and write: the same paths that dvc.yaml names, kept equal by a test."""

import os
from pathlib import Path

CONF = Path("conf")
SERVE = CONF / "serve.yaml"  # read by the server alone
PARAMS = Path("params.yaml")
LINKED_DATA = Path("data/linked")
LINKED_MODEL = Path("models/linked")
PREPARED = Path("data/prepared")
CARDS = "cards"  # in LINKED_DATA: what is published about the sources
CORPUS_CARD = "corpus"  # in CARDS: of the text that a tiny base learns from
COMMITS = "commits.json"  # in PREPARED, where a source is of the Hub
BASE = Path("models/base")
ADAPTER = Path("models/adapter")
MERGED = Path("models/merged")
ONNX = Path("models/onnx")
GGUF = Path("models/gguf")
BEST = "best"  # of the variants in ONNX, once more
DATA_REPORT = Path("reports/data.json")
DATA_SHEET = Path("reports/data.md")
LENGTHS = Path("reports/lengths.csv")
TRAIN_REPORT = Path("reports/train.json")
MERGE_REPORT = Path("reports/merge.json")
PARITY = Path("reports/parity.json")
GGUF_REPORT = Path("reports/gguf.json")
LOSS = Path("reports/loss")
METRICS = Path("reports/metrics.json")
SUMMARY = Path("reports/summary.json")
SCORES = Path("reports/scores.csv")
PREDICTIONS = Path("reports/predictions")
MODEL_CARD = Path("reports/model_card.md")
FAILED = "reports/failed"  # of experiments in temporary copies: what they had counted, and why they ended
REASON = "reason.txt"  # in FAILED, of each of them


def workspace() -> Path:
    """The repository that a person works in, also for an experiment in a temporary copy, which is deleted later."""
    return Path(os.environ.get("DVC_ROOT", "."))


def is_copy() -> bool:
    """Whether this is the temporary copy of an experiment."""
    return workspace().resolve() != Path.cwd()


def reason_file(experiment: str) -> Path:
    """What a failed experiment leaves in the workspace, since its copy is deleted."""
    return workspace() / FAILED / experiment / REASON


def run_name() -> str:
    """What this run is called: by its experiment, if it is one."""
    return os.environ.get("DVC_EXP_NAME", "workspace")


def make_empty(folder: Path) -> None:
    """An empty folder; with hard-linked outputs, writing in place would corrupt DVC's cache."""
    import shutil  # loads what unpacks archives

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def linked_source(index: int, source: str) -> Path:
    """Where the compose stage links the file of a source."""
    return LINKED_DATA / f"{index}-{Path(source).name}"


WATCHED_FOLDERS = 8  # of sources, at most: dvc.yaml names the link to each


def watched_folder(number: int) -> Path:
    """Where the compose stage links the folder of a source once more, as a dependency of its own.

    DVC follows a link to a folder only if dvc.yaml names it: so files that come and go there are seen.
    """
    return LINKED_DATA / "folders" / str(number)


def locate(path: str, key: str, folder: bool = False) -> Path:
    """The absolute path of a file, looked for here and, inside an experiment's copy, in the user's repository."""
    place = find_place(path)
    if place is None or place.is_dir() != folder:
        raise ValueError(f"{key}: there is no {'folder' if folder else 'file'} {path}; correct the path")
    return place


def find_place(path: str) -> Path | None:
    """The absolute path of a file or folder, looked for as in `locate`; None when there is none."""
    places = [(root / Path(path).expanduser()).resolve() for root in (Path.cwd(), workspace())]
    return next((place for place in places if place.is_dir() or place.is_file()), None)
