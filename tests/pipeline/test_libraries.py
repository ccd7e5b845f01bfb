import gc
import json
import subprocess
import sys
from importlib.util import find_spec

import presets
import pytest
from places import ROOT

from refrain.pipeline import libraries

INSTALLED = sorted(libraries.OPTIONAL.keys() - {"sklearn"})
LOADED_BY_A_STAGE = """
import json, sys
from importlib.util import find_spec
from refrain.pipeline import libraries
with libraries.importing():
    import transformers.trainer, peft, rouge_score.rouge_scorer
peft.get_peft_model(transformers.LlamaForCausalLM(transformers.LlamaConfig(
    hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=8
)), peft.LoraConfig())
loaded = [name for name in sys.argv[1:] if name in sys.modules]
print(json.dumps([loaded, [name for name in sys.argv[1:] if find_spec(name)]]))
"""


@pytest.mark.heavy
def test_what_is_only_installed_is_not_loaded_and_can_be_later():
    command = [sys.executable, "-W", "ignore", "-c", LOADED_BY_A_STAGE, *INSTALLED]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout.splitlines()[-1]) == [[], INSTALLED]


@pytest.fixture
def forget_optional(monkeypatch):
    for name in libraries.OPTIONAL:
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize(
    ("override", "found"),
    [("seed=7", []), ("method.base_bits=4", ["bitsandbytes"]), ("train.report_to=[wandb,comet]", ["comet_ml"])],
)
def test_what_the_configuration_asks_for_is_found(forget_optional, override, found):
    asked = presets.config(override)
    with libraries.importing(asked.method, asked.train):
        assert [name for name in INSTALLED if find_spec(name)] == found
    assert [name for name in INSTALLED if find_spec(name)] == INSTALLED


def test_what_is_loaded_stays_and_a_failure_leaves_everything_as_it_was(forget_optional, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", json)
    with pytest.raises(ZeroDivisionError), libraries.importing():
        assert sys.modules["scipy"] is json and not gc.isenabled()
        raise ZeroDivisionError
    assert sys.modules["scipy"] is json and gc.isenabled() and find_spec("datasets")
