"""What prepare and train report of a small run, as far as a model card tells of it."""

from refrain.pipeline import paths, runner

LORA = {"rank": 8, "alpha": 16, "dropout": 0.0, "layers": None, "init": "zero", "dora": False, "rslora": False}
METHOD = {
    "name": "lora", "weights": "pretrained", "base_bits": None, "adapter": LORA, "preference": None,
    "init_adapter": None,
}  # fmt: skip
CARD = {"license": ["cc0-1.0"], "language": ["en"]}


def write(cards=None, **method):
    """reports/data.json and reports/train.json in the current folder."""
    counts = {"rows": 21, "train": 16, "val": 0, "test": 16, "duplicates": 2, "quarantined": 2, "set_aside": 1}
    reasons = {"duplicate": 2, "empty|turn": 2, "too long": 1}
    data = {
        **counts,
        "reasons": reasons,
        "sources": {"0-said.jsonl": {**counts, "reasons": reasons}},
        "cards": {"0-said.jsonl": CARD} if cards is None else cards,
        "lengths": {"tokens": {"train": {"p100": 40}}},
    }
    train = {
        "rows": 16, "supervised_tokens": 1200, "steps": 20, "kept": 20, "val_loss": {"before": None, "after": None},
        "method": METHOD | method, "settings": {"lr": 0.01, "epochs": 5, "patience": None}, "seed": 7,
    }  # fmt: skip
    runner.write_report(paths.DATA_REPORT, data)
    runner.write_report(paths.TRAIN_REPORT, train)
