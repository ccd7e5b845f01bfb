"""Merge: fold the adapter into the weights, and refuse a merge that changes what the model says."""

from refrain import chat, config, launch, paths, records


def main(cfg: config.Config) -> None:
    from refrain import likeness, models, session, tracking  # load torch, after the configuration was checked

    talk = chat.load(paths.ADAPTER)
    paths.empty(paths.MERGED)
    models.save_whole(models.merged(models.trained(paths.BASE, paths.ADAPTER)), talk.ends, paths.MERGED)
    chat.copy(paths.ADAPTER, paths.MERGED, talk.template)

    rows = records.held_out(paths.PREPARED)[: cfg.merge.prompts]
    prompts = [chat.prompt(talk, row["messages"][:-1]) for row in rows]
    adapted = models.Speaker(models.trained(paths.BASE, paths.ADAPTER))
    seen = [ids for ids in prompts if len(ids) <= session.context(paths.MERGED)]
    found = likeness.likeness(adapted, models.Speaker(models.load(paths.MERGED)), seen)
    tracking.report(paths.MERGE_REPORT, {"prompts": len(seen), **likeness.facts(found)})
    likeness.require_equal(found, cfg.merge.tolerance)


if __name__ == "__main__":
    launch.run(main)
