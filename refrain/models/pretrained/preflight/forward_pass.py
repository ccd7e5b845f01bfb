"""Whether words get through the layers that config.json describes: computed with shapes alone, without a weight."""

import logging
from collections.abc import Iterator
from copy import deepcopy

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import PretrainedConfig

from refrain.models.pretrained.preflight.model_class import explain, find_class, quiet

LOG = logging.getLogger("torch._subclasses.fake_tensor")


def find_obstacles(config: PretrainedConfig) -> Iterator[str]:
    """Fields that are each possible, and of which no layer can be computed; none where a layer looks at values."""
    try:
        LOG.setLevel(logging.CRITICAL)  # it prints tracebacks
        with quiet(), torch.no_grad(), FakeTensorMode():
            model = find_class(config)._from_config(deepcopy(config), attn_implementation="eager", dtype=torch.float32)
            model(input_ids=torch.zeros((1, 2), dtype=torch.long), use_cache=False)
    except Exception as error:  # layers fail in their own ways
        if not needs_values(error):
            yield explain(error, config.model_type)


def needs_values(error: Exception) -> bool:
    """Whether the layers may be sound, and only what has no values cannot go through them."""
    return isinstance(error, NotImplementedError) or type(error).__module__ != "builtins"
