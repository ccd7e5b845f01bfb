"""Prepare: every raw row into data/prepared, each in exactly one place."""

from refrain import additions, balance, chat, config, corpus, datasheet, filing, launch, parts, paths, splits, tracking


def main(cfg: config.Config) -> None:
    paths.empty(paths.PREPARED)
    paths.DATA_REPORT.parent.mkdir(exist_ok=True)
    reading = parts.Reading(cfg.data, cfg.seed, paths.BASE, cfg.template.jinja, paths.PREPARED / ".spool")
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
    tracking.report(paths.DATA_REPORT, report)
    if not report["train"]:
        raise ValueError(f"no row is left to train on; {paths.PREPARED}/quarantine.jsonl and duplicates.jsonl say why")


if __name__ == "__main__":
    launch.run(main)
