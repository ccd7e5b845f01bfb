"""The stages of dvc.yaml; each is run as `python -m stages.NAME`."""

from pathlib import Path

from refrain.pipeline.stage_options import answer_help

answer_help(Path(__file__).parent)
