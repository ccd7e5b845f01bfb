"""Merge: fold the adapter into the weights, and refuse a merge that changes what the model says."""

from refrain import chat, config, launch, paths


def main(cfg: config.Config) -> None:
    from refrain import models, parity  # load torch, after the configuration was checked

    talk = chat.load(paths.ADAPTER)
    prompts = parity.prompts(talk, paths.PREPARED, cfg.merge.prompts)
    adapted = models.Speaker(models.trained(paths.BASE, paths.ADAPTER))
    merged = models.merged(models.trained(paths.BASE, paths.ADAPTER))
    parity.require_equal(adapted, models.Speaker(merged), prompts, cfg.merge.tolerance)

    paths.empty(paths.MERGED)
    models.save_whole(merged, talk.ends, paths.MERGED)
    chat.copy(paths.ADAPTER, paths.MERGED, talk.template)


if __name__ == "__main__":
    launch.run(main)
