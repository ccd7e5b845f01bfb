"""A model to learn from preferences with."""

import pytest
import torch

from refrain.models.pytorch import loading


@pytest.fixture
def policy(base):
    """A model that is not as `base`, and likes what strangers say."""
    model, rng = loading.load_pretrained(base), torch.Generator().manual_seed(6)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=rng)
    return model
