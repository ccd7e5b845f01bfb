"""Base: the model that fine-tuning starts from, in models/base: of the Hub, of a folder, or the embedded tiny one."""

import logging

from refrain.pipeline import exporter_record, libraries, paths, runner
from refrain.pipeline.schema import Config

log = logging.getLogger("refrain.base")


def main(cfg: Config) -> None:
    with libraries.importing():  # torch, after the configuration was checked
        from refrain.exporters.architectures.exporter_choice import choose_exporter, describe_choice
        from refrain.exporters.architectures.gguf_choice import find_gguf_obstacle
        from refrain.models.pretrained import resources
        from refrain.models.pretrained.hub import download_snapshot
        from refrain.models.pretrained.hub_headers import checked_outline
        from refrain.models.pretrained.preflight.outline import merged_outline
        from refrain.models.pretrained.snapshot import copy_from_folder

    model = cfg.model
    paths.make_empty(paths.BASE)
    if model.tiny is not None:
        from refrain.models.pretrained.reading import open_corpus
        from refrain.models.pretrained.tiny import pretrain
        from refrain.training import checkpoints, fit

        key = checkpoints.fingerprint([model.tiny, cfg.seed], [paths.LINKED_MODEL], fit.device_name())
        with open_corpus(model.tiny, paths.LINKED_MODEL, cfg.seed) as corpus, checkpoints.exclusive_folder(key) as own:
            pretrain(model.tiny, corpus, cfg.seed, paths.BASE, own)
    elif model.folder is not None:
        copy_from_folder(paths.locate(model.folder, "model.folder", folder=True), paths.BASE)
    elif model.hub is not None and model.revision is not None:
        with checked_outline(model.hub, model.revision) as headers, merged_outline(headers) as outline:
            choose_exporter(outline)  # before the weights are fetched
        download_snapshot(model.hub, model.revision, paths.BASE)
    with merged_outline(paths.BASE) as outline:
        choice = choose_exporter(outline)
        gguf_obstacle = find_gguf_obstacle(outline, paths.BASE)
    log.info("%s", describe_choice(choice))
    resources.warn_of_shortages(paths.BASE)
    exporter_record.write_record(paths.BASE, choice.exporter, choice.reason, gguf_obstacle)
    log.info("%s: %s", paths.BASE, ", ".join(sorted(file.name for file in paths.BASE.iterdir())))


if __name__ == "__main__":
    runner.run_stage(main)
