"""Prepare: every raw row into data/prepared, each in exactly one place."""

from refrain.chat import encoding as chat
from refrain.data import augmentation as additions
from refrain.data import corpus, datasheet
from refrain.data import split_files as balance
from refrain.data import split_files as filing
from refrain.data.splitting import splits
from refrain.pipeline import paths, runner
from refrain.pipeline import schema as config


def main(cfg: config.Config) -> None:
    paths.make_empty(paths.PREPARED)
    paths.DATA_REPORT.parent.mkdir(exist_ok=True)
    reading = corpus.RowPreparer(cfg.data, cfg.seed, paths.BASE, cfg.template.jinja, paths.PREPARED / ".spool")
    with corpus.read_corpus(reading) as (spool, tally):
        placed = splits.assign_splits(spool, cfg.data)
        filing.write_splits(spool, placed, cfg.data)
        report = balance.reconcile(spool, placed, tally)

        talk = chat.load(paths.BASE, cfg.template.jinja)
        measured = datasheet.measure_lengths(spool, placed, talk)
        report["lengths"] = datasheet.percentiles(measured)
        datasheet.histogram(measured, paths.LENGTHS)
        paths.DATA_SHEET.write_text(datasheet.render(report, spool, placed, talk), encoding="utf-8")
        report["variants"] = additions.append_variants(spool, placed, reading)
    runner.write_report(paths.DATA_REPORT, report)
    if not report["train"]:
        raise ValueError(f"no row is left to train on; {paths.PREPARED}/quarantine.jsonl and duplicates.jsonl say why")


if __name__ == "__main__":
    runner.run(main)
