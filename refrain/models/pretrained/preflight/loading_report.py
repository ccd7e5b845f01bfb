"""What transformers would make of the names and shapes in safetensors files, without their values."""

from dataclasses import dataclass
from typing import cast

import torch
from transformers import PretrainedConfig, PreTrainedModel

from refrain.models.pretrained.preflight.headers import TensorHeader
from refrain.models.pretrained.preflight.model_class import explain, find_class, quiet


@dataclass(frozen=True)
class LoadingReport:
    model: PreTrainedModel  # on the meta device: names and shapes alone
    missing: list[str]  # would be random
    unexpected: list[str]  # would be dropped
    mismatched: list[str]  # have another shape in the model

    @property
    def table(self) -> torch.Tensor:
        """The embedding of tokens, a row each."""
        return cast(torch.Tensor, self.model.get_input_embeddings().weight)


def load_on_meta(config: PretrainedConfig, headers: dict[str, TensorHeader]) -> LoadingReport:
    """Loads as from_pretrained does: it knows ties, prefixes of the inner model, renamed modules.

    ValueError where no model can be built of the configuration.
    """
    tensors = {name: torch.empty(header.shape, device="meta") for name, header in headers.items()}
    try:
        with quiet():
            model, report = without_values(find_class(config)).from_pretrained(
                None,
                config=config,
                state_dict=tensors,
                device_map="meta",
                dtype=torch.float32,
                attn_implementation="eager",
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:  # layers check their numbers in their own ways
        raise ValueError(explain(error, config.model_type)) from error
    return LoadingReport(model, report["missing_keys"], report["unexpected_keys"], report["mismatched_keys"])


def without_values(model_class: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """The class, but that it leaves missing tensors on the meta device instead of filling memory with random ones."""

    def leave(self: PreTrainedModel, *arguments: object) -> None:
        pass

    return type(
        model_class.__name__,
        (model_class,),
        {"_move_missing_keys_from_meta_to_cpu": leave, "_initialize_missing_keys": leave},
    )
