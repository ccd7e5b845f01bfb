"""What validation lets pass is exactly what the tables that act on it know."""

import pytest
from transformers import SchedulerType

from refrain.data.cleaning import pii
from refrain.models.pytorch import lora
from refrain.pipeline import validation
from refrain.training import fit
from refrain.training.objectives import preference


@pytest.mark.parametrize("choices, table", [
    (validation.LOSSES, [*preference.LOSSES, "kto"]),  # which has an objective of its own
    (validation.INITS, lora.INITS),
    (validation.PII, pii.KINDS),
], ids=["losses", "inits", "pii"])  # fmt: skip
def test_a_closed_choice_is_its_table(choices, table):
    assert sorted(choices) == sorted(table)


def test_a_schedule_is_one_of_the_trainers():
    assert fit.SCHEDULES.keys() <= {*validation.SCHEDULES}
    assert all(SchedulerType(fit.SCHEDULES.get(name, name)) for name in validation.SCHEDULES)
