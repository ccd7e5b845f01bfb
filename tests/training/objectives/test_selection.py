from preference_pairs import BETA, objective

from refrain.training.objectives import kto, preference, selection, sft


def test_a_method_has_the_objective_of_its_loss():
    assert selection.select_objective(None) is sft
    kinds = {loss: type(objective(loss)) for loss in BETA}
    assert kinds == dict.fromkeys(BETA, preference.PreferenceObjective) | {"kto": kto.KTOObjective}
