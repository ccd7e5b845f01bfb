"""Compose: keep params.yaml equal to conf/ plus the overrides of this run, and link the files it names.

As the first stage it takes no values; by hand, they recompose params.yaml:
    python -m stages.compose method=full train.lr=1e-3
"""

from refrain.experiments.compose import compose_params, current_params, log_written, overrides_between, write_params
from refrain.pipeline import runner
from refrain.pipeline.git import resolve_start
from refrain.pipeline.params import to_config


def main(overrides: list[str]) -> None:
    params = compose_params(overrides) if overrides else current_params()
    cfg = to_config(params)
    # these load what reads rows, after the configuration was checked
    from refrain.experiments.known_words import warn_of_unknown_words
    from refrain.experiments.links import link_inputs

    link_inputs(cfg.data, cfg.model)
    if cfg.method.init_adapter is not None:
        resolve_start(cfg.method.init_adapter)
    warn_of_unknown_words(cfg.data, cfg.model, cfg.method)
    write_params(params)
    if overrides:
        log_written(overrides_between(compose_params([]), params))


if __name__ == "__main__":
    runner.run_command(main, __doc__)
