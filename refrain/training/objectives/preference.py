"""Learning from pairs of a better and a worse reply: DPO, IPO and ORPO, as their papers and TRL have them."""

from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from refrain.chat.encoding import ChatTokenizer
from refrain.chat.examples import Example
from refrain.chat.records import Row
from refrain.pipeline.schema import PreferenceConfig
from refrain.training.objectives import pairs, sft
from refrain.training.objectives.logprobs import LogprobFunction, count_labels
from refrain.training.objectives.pairs import PreferencePair

LEAST_NEGATIVE_LOGPROB = 1e-6  # no reply counts as surer than this: the odds of a certain one are infinite


class PreferenceObjective:
    """The objective of a preference: its rows are pairs, and each counts the same."""

    def __init__(self, preference: PreferenceConfig) -> None:
        self.loss_function, self.beta = LOSSES[preference.loss], preference.beta

    def encode_rows(
        self, tokenizer: ChatTokenizer, rows: list[Row]
    ) -> tuple[list[PreferencePair], dict[str, list[str]]]:
        """As `pairs.encode_rows`."""
        return pairs.encode_rows(tokenizer, rows)

    def require_rows(self, rows: list[Row], encoded: list[PreferencePair]) -> None:
        """As `pairs.require_pairs`."""
        pairs.require_pairs(rows, encoded)

    def examples(self, rows: list[Row], encoded: list[PreferencePair]) -> list[Example]:
        """As `pairs.examples`."""
        return pairs.examples(rows, encoded)

    def token_count(self, row: PreferencePair) -> int:
        """What both sides cost in a forward pass."""
        return sft.token_count(row.chosen) + sft.token_count(row.rejected)

    def label_count(self, row: PreferencePair) -> int:
        """How many tokens of both replies are labelled."""
        return count_labels(row.chosen) + count_labels(row.rejected)

    def normaliser(self, rows: list[PreferencePair]) -> float:
        """The number of pairs."""
        return float(len(rows))

    def prepare(self, logprobs: LogprobFunction, rows: list[PreferencePair]) -> list[PreferencePair]:
        """The pairs with how likely their texts are now, the reference of all that follows; ORPO has none."""
        if self.loss_function is orpo_loss or not rows:
            return rows
        texts = [text for row in rows for text in (row.chosen, row.rejected)]
        sums = logprobs(texts).view(-1, 2).tolist()
        return [replace(row, reference_logprobs=tuple(reference)) for row, reference in zip(rows, sums, strict=True)]

    def step_context(self, logprobs: LogprobFunction, rows: list[PreferencePair]) -> float:
        """How many tokens of a chosen conversation are foretold on average in the step, the prompt's too.

        Over the whole step, so that no loss depends on how it is cut into forward passes.
        """
        return sum(sft.token_count(row.chosen) - 1 for row in rows) / len(rows)

    def loss(self, logprobs: LogprobFunction, rows: list[PreferencePair], context: float) -> Tensor:
        """Summed over the pairs."""
        return self.loss_function(logprobs, rows, context, self.beta).sum()


def dpo_loss(logprobs: LogprobFunction, rows: list[PreferencePair], mean_length: float, beta: float) -> Tensor:
    """-log sigmoid(beta (w - l)), where w and l are the gains of the replies: arXiv:2305.18290, equation 7."""
    chosen, rejected = log_ratios(logprobs, rows).unbind()
    return negative_log_sigmoid(beta * (chosen - rejected))


def ipo_loss(logprobs: LogprobFunction, rows: list[PreferencePair], mean_length: float, beta: float) -> Tensor:
    """(w - l - 1 / (2 beta))^2, where w and l are gains by token: arXiv:2310.12036, equation 17.

    The paper does not say by token; its authors told those of TRL that its results are of this form.
    """
    chosen, rejected = per_token(log_ratios(logprobs, rows), rows).unbind()
    return (chosen - rejected - 1 / (2 * beta)).pow(2)


def orpo_loss(logprobs: LogprobFunction, rows: list[PreferencePair], mean_length: float, beta: float) -> Tensor:
    """n - beta log sigmoid(log odds(w) - log odds(l)), odds(p) = p / (1 - p): arXiv:2403.07691, equations 6 and 7.

    w and l are the replies' probabilities by token (the geometric mean), n the negative log-likelihood of the chosen
    conversation, of the prompt too: summed over the pairs of a step and divided by their number, its mean by token.
    """
    texts = [[row.chosen, row.rejected, pairs.complement_labels(row.chosen)] for row in rows]
    chosen, rejected, prompt = logprobs([text for sides in texts for text in sides]).view(-1, 3).unbind(1)
    better, worse = per_token(torch.stack([chosen, rejected]), rows).unbind()
    return beta * negative_log_sigmoid(log_odds(better) - log_odds(worse)) - (chosen + prompt) / mean_length


LOSSES = {"sigmoid": dpo_loss, "ipo": ipo_loss, "orpo": orpo_loss}


def negative_log_sigmoid(margin: Tensor) -> Tensor:
    """-log sigmoid(margin): ln 2 where there is none."""
    return torch.as_tensor(-F.logsigmoid(margin))


def log_ratios(logprobs: LogprobFunction, rows: list[PreferencePair]) -> Tensor:
    """How much likelier the replies are than in the beginning, as logarithms [chosen and rejected, pairs]."""
    sums = logprobs([text for row in rows for text in (row.chosen, row.rejected)]).view(-1, 2)
    return (sums - sums.new_tensor([row.reference_logprobs for row in rows])).T


def per_token(sums: Tensor, rows: list[PreferencePair]) -> Tensor:
    """Means over the tokens of the replies [chosen and rejected, pairs]."""
    return sums / sums.new_tensor([[count_labels(row.chosen), count_labels(row.rejected)] for row in rows]).T


def log_odds(logarithm: Tensor) -> Tensor:
    """Of a probability that is given by its logarithm."""
    clamped = logarithm.clamp(max=-LEAST_NEGATIVE_LOGPROB)
    return clamped - torch.log(-torch.expm1(clamped))
