"""Base: the model that fine-tuning starts from, in models/base: of the Hub, of a folder, or the embedded tiny one."""

from refrain import config, launch, paths


def main(cfg: config.Config) -> None:
    from refrain import origin  # loads torch, after the configuration was checked

    paths.empty(paths.BASE)
    origin.fetch(cfg.model, cfg.seed, paths.BASE)


if __name__ == "__main__":
    launch.run(main)
