"""Compose: keep params.yaml equal to conf/ plus the overrides of this run, and link the files it names.

As the first stage it takes no values; by hand, they recompose params.yaml:
    python -m stages.compose method=full train.lr=1e-3
"""

from refrain import composition, inputs, launch


def main(overrides: list[str]) -> None:
    composition.write(composition.compose(overrides) if overrides else composition.current())
    cfg = launch.load([])
    inputs.link(cfg.data, cfg.model)


if __name__ == "__main__":
    launch.start(main, __doc__)
