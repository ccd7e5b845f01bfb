"""Which objective a method has."""

from refrain.pipeline.schema import PreferenceConfig
from refrain.training.objectives import sft
from refrain.training.objectives.kto import KTOObjective
from refrain.training.objectives.objective import Objective
from refrain.training.objectives.preference import PreferenceObjective


def select_objective(preference: PreferenceConfig | None) -> Objective:
    """The next token, pairs of replies, or for KTO each reply by itself."""
    if preference is None:
        return sft
    return KTOObjective(preference) if preference.loss == "kto" else PreferenceObjective(preference)
