"""The Trainer: one step of the optimiser is one batch, in as many forward passes and processes as there are."""

import logging
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils.memory import should_reduce_batch_size
from safetensors import SafetensorError
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerState

from refrain.chat.encoding import Features
from refrain.pipeline.schema import TrainConfig
from refrain.training import batching, checkpoints, finiteness, packing
from refrain.training.distributed import fsdp, processes
from refrain.training.objectives.logprobs import LogprobFunction, sequence_logprobs
from refrain.training.objectives.objective import Objective
from refrain.training.timing import PhaseTimer

log = logging.getLogger(__name__)


class StepTrainer(Trainer):
    """A Trainer whose batch is the rows of one optimiser step, run in as many forward passes as memory asks for."""

    def __init__(
        self,
        objective: Objective,
        rows: list[Any],
        held_out: list[Any],
        steps: batching.StepSampler,
        train: TrainConfig,
        timer: PhaseTimer,
        **common: Any,
    ) -> None:
        super().__init__(train_dataset=cast(Any, rows), eval_dataset=cast(Any, held_out), **common)
        self.objective: Objective = objective
        self.rows, self.held_out, self.steps, self.timer = rows, held_out, steps, timer
        self.micro_batch_tokens = train.micro_batch_tokens
        self.packed = train.packing and not train.compile and packing.is_supported(cast(Any, self.model))
        self.is_sharded = fsdp.is_sharded(self.model)

    def prepare_objective(self) -> None:
        """What the objective needs of the untrained model, asked once."""
        logprobs = self.logprob_function(self.model)
        self.rows = self.objective.prepare(logprobs, self.rows)
        self.held_out = self.objective.prepare(logprobs, self.held_out)

    def restore_state(self, state: TrainerState) -> None:
        """What the training knew when it was saved, beside what the Trainer itself restores."""
        known = [entry["micro_batch_tokens"] for entry in state.log_history if "micro_batch_tokens" in entry]
        self.micro_batch_tokens = int(known[-1]) if known else self.micro_batch_tokens
        log.info("going on from step %d", state.global_step)

    def logprob_function(self, model: Any) -> LogprobFunction:
        """How likely any number of rows are, in as many forward passes as memory asks for, without a gradient."""

        def logprobs(rows: list[Features]) -> torch.Tensor:
            passes = batching.split_forward_passes(
                [len(row["input_ids"]) for row in rows], self.micro_batch_tokens, self.packed
            )
            model.eval()
            result = torch.zeros(len(rows), device=self.args.device)
            with torch.no_grad(), self.accelerator.autocast():
                for turn in processes.own_turns(len(passes)):
                    indices = passes[turn % len(passes)]
                    sums = sequence_logprobs(model, [rows[row] for row in indices], self.packed)
                    if turn < len(passes):
                        result[indices] = sums.to(result.device)
            result = processes.all_reduce_sum(result)
            self.require_finite(float(result.sum()), "log-probability of the rows")
            return result

        return logprobs

    def product_type(self) -> torch.dtype | None:
        """In what whole weights are multiplied with on a CPU, where that is up to us."""
        is_plain = not (self.args.fp16 or self.args.torch_compile or self.is_sharded)
        if not (is_plain and self.args.device.type == "cpu"):
            return None
        return torch.bfloat16 if self.args.bf16 else torch.float32

    def require_finite(self, value: float, name: str) -> None:
        """ValueError with the way out unless this number, which all processes have, is finite."""
        finiteness.require_finite_number(value, name, self.state.global_step, self.way_out())

    def way_out(self) -> str:
        """What a person may change when numbers overflow."""
        lower = f"lower train.lr={self.args.learning_rate:g}" if self.state.global_step else "choose another base"
        half = next((name for name in ("bf16", "fp16") if getattr(self.args, name)), None)
        return f"{lower}, or set train.precision=fp32 in place of {half}" if half else lower

    def get_train_dataloader(self) -> "StepLoader":
        """Every process sees every step, and takes its share of it."""
        return StepLoader(self.rows, self.steps)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """The mean loss of a step, its gradient left in the weights.

        When memory does not suffice the step is made again in passes of half the size: same rows, same chance.
        """
        states = random_states()
        while True:
            try:
                return self.run_step(model, inputs)
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
                self.halve_passes(inputs, error)
                model.zero_grad()
                set_random_states(*states)

    def run_step(self, model: Any, rows: list[Any]) -> torch.Tensor:
        """One attempt at a step."""
        objective, total = self.objective, torch.zeros((), device=self.args.device)
        context, weight = objective.step_context(self.logprob_function(model), rows), objective.normaliser(rows)
        logprobs, passes = partial(sequence_logprobs, model.train(), packed=self.packed), self.forward_passes(rows)
        for number, (part, scale) in enumerate(passes, 1):
            with nullcontext() if number == len(passes) else self.accelerator.no_sync(model):
                with self.timer.phase("forward"):
                    loss = objective.loss(logprobs, part, context) * (scale / weight)
                with self.timer.phase("backward"):
                    self.accelerator.backward(loss)
            total += loss.detach()
        self.timer.count_tokens(sum(map(objective.token_count, rows)))
        self.loss = processes.sum_scalar(float(total)) / processes.world_size()
        self.require_finite(self.loss, "loss")
        return total

    def forward_passes(self, rows: list[Any]) -> list[tuple[list[Any], float]]:
        """The forward passes of this process, each with what its loss is scaled by; all processes have as many.

        Gradients are averaged over the processes, and here they are to be summed: hence the scale.
        """
        lengths, world = [self.objective.token_count(row) for row in rows], processes.world_size()
        shares = [batching.process_share(lengths, number, world) for number in range(world)]
        passes = [
            batching.split_forward_passes([lengths[row] for row in rows], self.micro_batch_tokens, self.packed)
            for rows in shares
        ]
        own_passes = [
            ([rows[shares[processes.rank()][row]] for row in indices], float(world))
            for indices in passes[processes.rank()]
        ]
        return own_passes + [(rows[:1], 0.0)] * (max(map(len, passes)) - len(own_passes))

    def halve_passes(self, rows: list[Any], error: RuntimeError) -> None:
        """Forward passes of half the size from now on; ValueError when that helps no more."""
        longest = max(map(self.objective.token_count, rows))
        if processes.world_size() > 1 or len(self.forward_passes(rows)) == len(rows):
            raise ValueError(f"a row of {longest} tokens does not fit into memory; lower data.max_tokens or train."
                             "micro_batch_tokens, or set train.gradient_checkpointing=true") from error  # fmt: skip
        self.micro_batch_tokens //= 2
        self.log({"micro_batch_tokens": self.micro_batch_tokens})
        log.warning("out of memory: the same batch goes on in forward passes of %d tokens", self.micro_batch_tokens)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The mean loss of the held-out rows, by the same weights as in training."""
        rows, logprobs = self.held_out, self.logprob_function(self.model_wrapped)
        with self.timer.phase("evaluation"):
            total = float(self.objective.loss(logprobs, rows, self.objective.step_context(logprobs, rows)))
        self.require_finite(total, "validation loss")
        metrics = {"eval_loss": total / self.objective.normaliser(rows)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As the Trainer does, with the loss unrounded; ValueError where the gradient of the step was not finite."""
        if "grad_norm" in logs:
            is_retried = self.accelerator.optimizer_step_was_skipped and self.accelerator.scaler.get_scale() >= 1
            norm = 0.0 if is_retried else logs["grad_norm"]  # fp16: the next step is scaled by less
            self.require_finite(processes.sum_scalar(norm), "norm of the gradient")
        super().log({**logs, "loss": self.loss} if "loss" in logs else logs, start_time)

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: the Trainer's estimate takes a batch of tensors."""
        return 0

    def checkpoint_bytes(self) -> int:
        """What two checkpoints take, the old and the new: weights that learn, and the two moments of each."""
        trainable = sum(weight.numel() for weight in cast(Any, self.model).parameters() if weight.requires_grad)
        return 2 * 3 * 4 * int(trainable)

    def _wrap_model(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        """A sharded model needs nothing of accelerate's."""
        if self.is_sharded:
            return fsdp.ShardedModule(model, self.accelerator.autocast)
        return super()._wrap_model(model, *args, **kwargs)  # type: ignore[no-untyped-call]

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Into a checkpoint; shares go there with what the optimiser knows of them."""
        if not self.is_sharded:
            super().save_model(output_dir, _internal_call)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Into a checkpoint."""
        if self.is_sharded:
            fsdp.save_shard(Path(output_dir), self.model, self.optimizer, self.lr_scheduler)
        else:
            super()._save_optimizer_and_scheduler(output_dir)  # type: ignore[no-untyped-call]

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Weights; shares come with what the optimiser knows of them."""
        if not self.is_sharded:
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[no-untyped-call]

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """None: a checkpoint is sealed and this training's own, and holds tied weights under one of their names."""

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """From a checkpoint, if there is one."""
        if not self.is_sharded:
            super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[no-untyped-call]
        elif checkpoint is not None:
            fsdp.load_shard(Path(checkpoint), self.model, self.optimizer, self.lr_scheduler)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """A sealed checkpoint, and none older; OSError when the disk does not take it."""
        folder = Path(str(self.args.output_dir))
        finiteness.require_finite_weights(model, self.state.global_step, self.way_out())
        with self.timer.phase("checkpoint"):
            try:
                super()._save_checkpoint(model, trial)  # type: ignore[no-untyped-call]
            except (OSError, RuntimeError, SafetensorError) as error:
                step, reason = self.state.global_step, str(error).partition("\n")[0]
                raise OSError(f"{folder}: the checkpoint of step {step} could not be written ({reason}); "
                              "make room, and the next run goes on from the one before") from error  # fmt: skip
            self.accelerator.wait_for_everyone()
            if processes.is_main():
                checkpoints.seal_checkpoint(folder / f"checkpoint-{self.state.global_step}")
                checkpoints.prune_checkpoints(folder)


def random_states() -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Of the CPU, and of every CUDA device: dropout draws from that of its own."""
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def set_random_states(cpu: torch.Tensor, devices: list[torch.Tensor]) -> None:
    """As `random_states` found them."""
    torch.set_rng_state(cpu)
    torch.cuda.set_rng_state_all(devices)


class StepLoader(DataLoader[Any]):
    """The rows of each step, in the order of the epoch."""

    def __init__(self, rows: list[Any], steps: batching.StepSampler) -> None:
        super().__init__(cast(Any, rows), batch_sampler=steps, collate_fn=list)
        self.steps = steps

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch."""
        self.steps.epoch = epoch
