"""Train: fit the chosen method on data/prepared, leave the adapter (or the full weights) in models/adapter."""

from refrain.pipeline import exporter_record, libraries, paths, runner, schema
from refrain.training.distributed import launcher


def main(cfg: schema.Config) -> None:
    if launcher.launch_workers(cfg.launch):
        return
    with libraries.importing(cfg.method, cfg.train):  # torch, after the configuration was checked
        from refrain.chat import encoding, model_folder, records
        from refrain.models.pytorch import loading
        from refrain.pipeline import revisions
        from refrain.training import checkpoints, fit, timing
        from refrain.training.audit import supervision
        from refrain.training.callbacks import loss_curves, trackers
        from refrain.training.distributed import fsdp, processes
        from refrain.training.objectives import selection

    fit.log_recipe(cfg.train)
    timer, objective = timing.PhaseTimer(), selection.select_objective(cfg.method.preference)
    with timer.phase("tokenise"):
        rows, held_out = (records.read_rows(paths.PREPARED / f"{name}.jsonl") for name in ("train", "val"))
        tokenizer = encoding.ask_with_opening(encoding.load_tokenizer(paths.BASE, cfg.template.jinja), rows + held_out)
        supervision.require_teachable(tokenizer, [*rows, *held_out])
        (train, left_out), (val, _) = (objective.encode_rows(tokenizer, part) for part in (rows, held_out))
        fit.require_rows(objective, rows, train, left_out)
    with timer.phase("audit"):
        examples = {"train": objective.examples(rows, train), "val": objective.examples(held_out, val)}
        served = supervision.read_served_tokenizer(paths.BASE, tokenizer)
        audit = supervision.require_clean(tokenizer, examples, model_folder.read_context_length(paths.BASE), served)
    settings = [cfg.method, cfg.seed, cfg.template, cfg.train, cfg.launch]
    key = checkpoints.fingerprint(settings, [paths.BASE, paths.PREPARED], fit.device_name())
    with processes.enter_on_main(checkpoints.exclusive_folder(key)) as folder:
        start = revisions.fetch_start_adapter(cfg.method.init_adapter, folder / f"start-{processes.rank()}")
        model = fsdp.shard(loading.build_trainable(paths.BASE, cfg.method, cfg.seed, start), cfg.launch.shard)
        tracking = [loss_curves.DVCLiveCallback(paths.LOSS), *trackers.callbacks(cfg.train.report_to, paths.run_name())]
        curves = fit.train_model(model, train, val, objective, cfg.train, cfg.seed, folder, timer, tracking)
        fsdp.unshard(model)
        processes.exit_other_ranks()
        paths.make_empty(paths.ADAPTER)
        loading.save_pretrained(model, paths.ADAPTER)
        model_folder.copy_tokenizer(paths.BASE, paths.ADAPTER, tokenizer.template)
        loss_curves.write_curves(paths.LOSS, train=curves.train, val=curves.val, kept=curves.kept(), lr=curves.lr)
        report = fit.training_report(curves, train, objective, left_out, audit)
        runner.write_report(paths.TRAIN_REPORT, {**report, **fit.recipe_facts(cfg.method, cfg.train, cfg.seed)})


if __name__ == "__main__":
    runner.run_stage(main, exporter_record.require_exportable)
