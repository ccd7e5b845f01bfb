"""Train: fit the chosen method on data/prepared, leave the adapter (or the full weights) in models/adapter."""

from refrain.chat import encoding, model_folder, records
from refrain.pipeline import paths, revisions, runner, schema
from refrain.training import checkpoints
from refrain.training.audit import supervision
from refrain.training.distributed import launcher


def main(cfg: schema.Config) -> None:
    if launcher.launch(cfg.launch):
        return
    # these load torch, after the configuration was checked
    from refrain.models.pytorch import loading
    from refrain.training import fit, timing
    from refrain.training.callbacks import loss_curves, trackers
    from refrain.training.distributed import fsdp, processes
    from refrain.training.objectives import pairs, preference, sft

    time = timing.PhaseTimer()
    objective = sft if cfg.method.preference is None else preference.PreferenceObjective(cfg.method.preference)
    with time.phase("tokenise"):
        talk = encoding.load_tokenizer(paths.BASE, cfg.template.jinja)
        rows, held_out = (records.read_rows(paths.PREPARED / f"{name}.jsonl") for name in ("train", "val"))
        supervision.require_teachable(talk, [*rows, *held_out])
        train, left_out = objective.features(talk, rows)
        val, _ = objective.features(talk, held_out)
        pairs.require_pairs(train, left_out)
    with time.phase("audit"):
        taught = {"train": objective.examples(rows, train), "val": objective.examples(held_out, val)}
        audited = supervision.require_clean(
            talk, taught, model_folder.read_context_length(paths.BASE), supervision.served_chat(paths.BASE, talk)
        )
    settings = [cfg.method, cfg.seed, cfg.template, cfg.train, cfg.launch]
    key = checkpoints.fingerprint(settings, [paths.BASE, paths.PREPARED], fit.device_name())
    with processes.entered_by_main(checkpoints.exclusive_folder(key)) as folder:
        start = revisions.fetch_start_adapter(cfg.method.init_adapter, folder / f"start-{processes.rank()}")
        model = fsdp.shard(loading.build_trainable(paths.BASE, cfg.method, cfg.seed, start), cfg.launch.shard)
        watchers = [
            loss_curves.DVCLiveCallback(paths.LOSS),
            *trackers.callbacks(cfg.train.report_to, runner.run_name()),
        ]
        curves = fit.fit(model, train, val, objective, cfg.train, cfg.seed, folder, time, watchers)

        fsdp.unshard(model)
        processes.exit_other_ranks()
        paths.make_empty(paths.ADAPTER)
        loading.save(model, paths.ADAPTER)
        model_folder.copy_tokenizer(paths.BASE, paths.ADAPTER, talk.template)
        loss_curves.write_curves(paths.LOSS, train=curves.train, val=curves.val, lr=curves.lr)
        facts = {**fit.report(curves, train, objective), "unpaired": len(left_out["unpaired"]), "audit": audited}
        runner.write_report(paths.TRAIN_REPORT, facts)


if __name__ == "__main__":
    runner.run_stage(main)
