import numpy as np
import pytest
import torch
from adapted_models import ASKED, adapted
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
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


@pytest.mark.parametrize("family", ["base", "gpt2"])
def test_a_row_that_ended_leaves_the_others_as_they_are(family, request):
    speaker = TorchLanguageModel(loading.load_pretrained(request.getfixturevalue(family)))
    prompts = [[5], [200, 7, 7, 31], [9, 9, 120, 8, 60]]
    replies = language_model.greedy_decode(speaker, prompts, 12, frozenset())
    end = next(token for token in replies[1] if token not in replies[0] + replies[2])
    replies[1] = replies[1][: replies[1].index(end)]
    assert language_model.greedy_decode(speaker, prompts, 12, frozenset({end})) == replies


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


@pytest.mark.parametrize("config", [LlamaConfig, MistralConfig])
def test_a_speaker_remembers_what_its_attention_sees(config):
    torch.manual_seed(0)
    shape = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
             "num_attention_heads": 2, "num_key_value_heads": 1, "initializer_range": 0.3}  # fmt: skip
    stray = TorchLanguageModel(AutoModelForCausalLM.from_config(config(**shape, sliding_window=4)))  # Llama reads none
    ids, cache, steps = np.arange(1, 13)[None], None, []
    for at in range(ids.shape[1]):
        logits, cache = stray.forward(ids[:, at : at + 1], np.ones((1, at + 1), dtype=np.int64), cache, 1)
        steps.append(logits[0, 0])
    assert np.abs(np.stack(steps) - divergence.sequence_logits(stray, list(ids[0]))).max() < 1e-4


@pytest.mark.parametrize("kind, settings", [
    (LlamaConfig, {}),
    (GPT2Config, {"n_embd": 32, "n_layer": 2, "n_head": 2}),
    (OPTConfig, {"word_embed_proj_dim": 16, "ffn_dim": 64}),  # nothing stands between its body and its head
    (CohereConfig, {"logit_scale": 0.25}),
    (Gemma2Config, {"final_logit_softcapping": 3.0, "head_dim": 16}),
])  # fmt: skip
def test_logits_are_made_again_of_what_the_head_reads(kind, settings):
    torch.manual_seed(0)
    shape = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
             "num_attention_heads": 2, "num_key_value_heads": 1, "initializer_range": 0.3}  # fmt: skip
    speaker = TorchLanguageModel(AutoModelForCausalLM.from_config(kind(**shape | settings)))
    states = speaker.read_states(ASKED[0], 3)
    expected = divergence.sequence_logits(speaker, ASKED[0], 3)
    assert np.array_equal(speaker.head_logits(states), expected)
    blocks = max((part for part in speaker.model.modules() if isinstance(part, torch.nn.ModuleList)), key=len)
    blocks[0].register_forward_pre_hook(lambda *_: pytest.fail("its layers are asked again"))
    if kind is not OPTConfig:
        speaker.head_logits(states)


@pytest.mark.parametrize("family", ["base", "gpt2", "opt"])
def test_no_logits_are_computed_for_positions_that_nobody_asks_for(family, request):
    if family == "opt":  # its forward has no logits_to_keep
        shape = OPTConfig(vocab_size=300, hidden_size=32, word_embed_proj_dim=32, ffn_dim=64, num_hidden_layers=2,
                          num_attention_heads=2, max_position_embeddings=64)  # fmt: skip
        model = AutoModelForCausalLM.from_config(shape)
    else:
        model = loading.load_pretrained(request.getfixturevalue(family))
    shapes = []
    model.get_output_embeddings().register_forward_hook(lambda head, inputs, logits: shapes.append(logits.shape[:2]))
    ids, mask = language_model.left_pad(ASKED)
    speaker = TorchLanguageModel(model)
    _, cache = speaker.forward(ids, mask, None, 2)
    speaker.forward(np.array([[5], [6]]), language_model.extend_mask(mask), cache, 1)
    speaker.forward(ids, mask, None)
    assert shapes == [(2, 2), (2, 1), ids.shape]
