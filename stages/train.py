"""Train: fit the chosen method on data/prepared, leave the adapter (or the full weights) in models/adapter."""

from refrain.chat import encoding as chat
from refrain.chat import model_folder, records
from refrain.pipeline import paths, revisions, runner
from refrain.pipeline import schema as config
from refrain.training import checkpoints
from refrain.training.audit import supervision as audit
from refrain.training.distributed import launcher as workers


def main(cfg: config.Config) -> None:
    if workers.launch(cfg.launch):
        return
    # these load torch, after the configuration was checked
    from refrain.models.pytorch import loading as models
    from refrain.training import fit as training
    from refrain.training import timing as clock
    from refrain.training.callbacks import loss_curves, trackers
    from refrain.training.callbacks import loss_curves as live
    from refrain.training.distributed import fsdp as sharding
    from refrain.training.distributed import processes
    from refrain.training.objectives import pairs, preference, sft

    time = clock.PhaseTimer()
    objective = sft if cfg.method.preference is None else preference.PreferenceObjective(cfg.method.preference)
    with time.phase("tokenise"):
        talk = chat.load(paths.BASE, cfg.template.jinja)
        rows, held_out = (records.read_rows(paths.PREPARED / f"{name}.jsonl") for name in ("train", "val"))
        audit.require_teachable(talk, [*rows, *held_out])
        train, left_out = objective.features(talk, rows)
        val, _ = objective.features(talk, held_out)
        pairs.require_pairs(train, left_out)
    with time.phase("audit"):
        taught = {"train": objective.examples(rows, train), "val": objective.examples(held_out, val)}
        audited = audit.require_clean(
            talk, taught, model_folder.context_length(paths.BASE), audit.served_chat(paths.BASE, talk)
        )
    settings = [cfg.method, cfg.seed, cfg.template, cfg.train, cfg.launch]
    key = checkpoints.fingerprint(settings, [paths.BASE, paths.PREPARED], training.device_name())
    with processes.entered_by_main(checkpoints.exclusive_folder(key)) as folder:
        start = revisions.start_adapter(cfg.method.start, folder / f"start-{processes.rank()}")
        model = sharding.shard(models.build_trainable(paths.BASE, cfg.method, cfg.seed, start), cfg.launch.shard)
        watchers = [live.DVCLiveCallback(paths.LOSS), *trackers.callbacks(cfg.train.report_to, runner.run_name())]
        curves = training.fit(model, train, val, objective, cfg.train, cfg.seed, folder, time, watchers)

        sharding.unshard(model)
        processes.exit_other_ranks()
        paths.make_empty(paths.ADAPTER)
        models.save(model, paths.ADAPTER)
        model_folder.copy_tokenizer(paths.BASE, paths.ADAPTER, talk.template)
        loss_curves.write_curves(paths.LOSS, train=curves.train, val=curves.val, lr=curves.lr)
        facts = {**training.report(curves, train, objective), "unpaired": len(left_out["unpaired"]), "audit": audited}
        runner.write_report(paths.TRAIN_REPORT, facts)


if __name__ == "__main__":
    runner.run(main)
