"""Train: fit the chosen method on data/prepared, leave the adapter (or the full weights) in models/adapter."""

from refrain import chat, checkpoints, config, launch, paths, records, revisions, workers


def main(cfg: config.Config) -> None:
    if workers.launched(cfg.launch):
        return
    # these load torch, after the configuration was checked
    from refrain import clock, live, models, pairs, preference, processes, sft, sharding, trackers, tracking, training

    time = clock.Clock()
    objective = sft if cfg.method.preference is None else preference.Pairs(cfg.method.preference)
    with time.part("tokenise"):
        talk = chat.load(paths.BASE, cfg.template.jinja)
        train, left_out = objective.features(talk, records.read(paths.PREPARED / "train.jsonl"), cfg.train.max_tokens)
        val, _ = objective.features(talk, records.read(paths.PREPARED / "val.jsonl"), cfg.train.max_tokens)
        pairs.require(train, left_out)
    settings = [cfg.method, cfg.seed, cfg.template, cfg.train, cfg.launch]
    key = checkpoints.key(settings, [paths.BASE, paths.PREPARED], training.device())
    with processes.led(checkpoints.claimed(key)) as folder:
        start = revisions.begun(cfg.method.start, folder / f"start-{processes.number()}")
        model = sharding.spread(models.build(paths.BASE, cfg.method, cfg.seed, start), cfg.launch.shard)
        watchers = [live.LiveCurves(paths.LOSS), *trackers.callbacks(cfg.train.report_to, launch.name())]
        curves = training.fit(model, train, val, objective, cfg.train, cfg.seed, folder, time, watchers)

        sharding.gather(model)
        processes.dismiss_others()
        paths.empty(paths.ADAPTER)
        models.save(model, paths.ADAPTER)
        chat.copy(paths.BASE, paths.ADAPTER, talk.template)
        tracking.curves(paths.LOSS, train=curves.train, val=curves.val, lr=curves.lr)
        facts = {**training.facts(curves, train, objective), **left_out, "unpaired": len(left_out["unpaired"])}
        tracking.report(paths.TRAIN_REPORT, facts)


if __name__ == "__main__":
    launch.run(main)
