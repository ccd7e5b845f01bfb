"""Train: fit the chosen method on data/prepared, leave the adapter (or the full weights) in models/adapter."""

from refrain import chat, config, launch, paths, records


def main(cfg: config.Config) -> None:
    from refrain import models, sft, tracking, training  # load torch, after the configuration was checked

    talk = chat.load(paths.BASE, cfg.template.jinja)
    train, overlong = sft.features(talk, records.read(paths.PREPARED / "train.jsonl"), cfg.train.max_tokens)
    val, _ = sft.features(talk, records.read(paths.PREPARED / "val.jsonl"), cfg.train.max_tokens)
    model = models.build(paths.BASE, cfg.method, cfg.seed)
    curves = training.fit(model, train, val, sft.collate, cfg.train, cfg.seed)

    paths.empty(paths.ADAPTER)
    models.save(model, paths.ADAPTER)
    chat.copy(paths.BASE, paths.ADAPTER, talk.template)
    tracking.curves(paths.LOSS, train=curves.train, val=curves.val)
    tracking.report(paths.TRAIN_REPORT, {**training.facts(curves, train), "overlong": overlong})


if __name__ == "__main__":
    launch.run(main)
