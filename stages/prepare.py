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
    reading = corpus.Reading(cfg.data, cfg.seed, paths.BASE, cfg.template.jinja, paths.PREPARED / ".spool")
    with corpus.read(reading) as (spool, tally):
        placed = splits.place(spool, cfg.data)
        filing.write(spool, placed, cfg.data)
        report = balance.drawn_up(spool, placed, tally)

        talk = chat.load(paths.BASE, cfg.template.jinja)
        measured = datasheet.measured(spool, placed, talk)
        report["lengths"] = datasheet.percentiles(measured)
        datasheet.histogram(measured, paths.LENGTHS)
        paths.DATA_SHEET.write_text(datasheet.page(report, spool, placed, talk), encoding="utf-8")
        report["variants"] = additions.write(spool, placed, reading)
    runner.report(paths.DATA_REPORT, report)
    if not report["train"]:
        raise ValueError(f"no row is left to train on; {paths.PREPARED}/quarantine.jsonl and duplicates.jsonl say why")


if __name__ == "__main__":
    runner.run(main)
