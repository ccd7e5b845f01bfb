import numpy as np
import pytest
import torch
from adapted_models import ASKED, adapted
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
)

from refrain.evaluation import divergence
from refrain.models.pytorch import loading
from refrain.models.pytorch.language_model import TorchLanguageModel
from refrain.runtime import language_model


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_a_speaker_says_the_same_with_a_cache_and_beside_others(positions, base):
    torch.manual_seed(0)
    learned = GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=32, initializer_range=0.2)
    speaker = TorchLanguageModel(
        loading.load_pretrained(base) if positions == "rotary" else AutoModelForCausalLM.from_config(learned)
    )
    ids, mask = language_model.left_pad(ASKED)
    _, cache = speaker.forward(ids, mask, None, 1)
    logits, _ = speaker.forward(np.array([[5], [6]]), language_model.extend_mask(mask), cache, 1)
    for row, prompt, token in zip(logits[:, 0], ASKED, (5, 6), strict=True):
        assert np.abs(row - divergence.sequence_logits(speaker, [*prompt, token])[-1]).max() < 1e-4


@pytest.mark.parametrize("keep, count", [(0, 4), (1, 1), (3, 3)])
def test_a_speaker_gives_as_many_logits_of_its_model_as_are_wanted(base, keep, count):
    model = loading.load_pretrained(base)
    right = model(torch.tensor([ASKED[0]])).logits[0, -count:].detach().numpy()
    got = divergence.sequence_logits(TorchLanguageModel(model), ASKED[0], keep)
    assert got.shape == right.shape and np.abs(got - right).max() < 1e-5


def test_a_speaker_drops_nothing_out(base):
    model = loading.build_trainable(base, adapted(dropout=0.9), 3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(weight)
    speaker = TorchLanguageModel(model.train())
    assert divergence.measure_divergence(speaker, speaker, ASKED).whole == 0
