"""Learning from pairs of a better and a worse reply: DPO, IPO, KTO and ORPO, as their papers and TRL have them."""

from dataclasses import replace
from typing import NamedTuple

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

SURE = 1e-6  # no reply counts as surer than this: the odds of a certain one are infinite


class StepContext(NamedTuple):
    """What the loss of a pair needs to know of all pairs of its step."""

    drift: float  # what strangers have gained on average, at least 0
    length: float  # how many tokens of a chosen conversation are foretold on average, the prompt's too


class PreferenceObjective:
    """The objective of a preference: its rows are pairs, and each counts the same."""

    def __init__(self, preference: PreferenceConfig) -> None:
        self.formula, self.beta = FORMULAS[preference.loss], preference.beta

    def features(self, chat: ChatTokenizer, rows: list[Row]) -> tuple[list[PreferencePair], dict[str, list[str]]]:
        """As `pairs.features`."""
        kept, left_out = pairs.features(chat, rows)
        return pairs.with_kl_examples(kept) if self.formula is kto else kept, left_out

    def examples(self, rows: list[Row], kept: list[PreferencePair]) -> list[Example]:
        """As `pairs.examples`."""
        return pairs.examples(rows, kept)

    def tokens(self, row: PreferencePair) -> int:
        """What both sides cost in a forward pass."""
        return sft.tokens(row.chosen) + sft.tokens(row.rejected)

    def label_count(self, row: PreferencePair) -> int:
        """How many tokens of both replies are labelled."""
        return count_labels(row.chosen) + count_labels(row.rejected)

    def normaliser(self, rows: list[PreferencePair]) -> float:
        """The number of pairs."""
        return float(len(rows))

    def prepare(self, ask: LogprobFunction, rows: list[PreferencePair]) -> list[PreferencePair]:
        """The pairs with how likely their texts are now, the reference of all that follows; ORPO has none."""
        if self.formula is orpo or not rows:
            return rows
        texts = [text for row in rows for text in (row.chosen, row.rejected, *row.kl_examples)]
        found = ask(texts).view(len(rows), -1).tolist()
        return [replace(row, began=tuple(likely)) for row, likely in zip(rows, found, strict=True)]

    def step_context(self, ask: LogprobFunction, rows: list[PreferencePair]) -> StepContext:
        """Over the whole step, so that no loss depends on how it is cut into forward passes."""
        length = sum(sft.tokens(row.chosen) - 1 for row in rows) / len(rows)
        return StepContext(kl_estimate(ask, rows) if self.formula is kto else 0.0, length)

    def loss(self, ask: LogprobFunction, rows: list[PreferencePair], context: StepContext) -> Tensor:
        """Summed over the pairs."""
        return self.formula(ask, rows, context, self.beta).sum()


def dpo(ask: LogprobFunction, rows: list[PreferencePair], step: StepContext, beta: float) -> Tensor:
    """-log sigmoid(beta (w - l)), where w and l are the gains of the replies: arXiv:2305.18290, equation 7."""
    chosen, rejected = log_ratios(ask, rows).unbind()
    return negative_log_sigmoid(beta * (chosen - rejected))


def ipo(ask: LogprobFunction, rows: list[PreferencePair], step: StepContext, beta: float) -> Tensor:
    """(w - l - 1 / (2 beta))^2, where w and l are gains by token: arXiv:2310.12036, equation 17.

    The paper does not say by token; its authors told those of TRL that its results are of this form.
    """
    chosen, rejected = per_token(log_ratios(ask, rows), rows).unbind()
    return (chosen - rejected - 1 / (2 * beta)).pow(2)


def kto(ask: LogprobFunction, rows: list[PreferencePair], step: StepContext, beta: float) -> Tensor:
    """The mean of 1 - sigmoid(beta (w - z)) and 1 - sigmoid(beta (z - l)), z the drift: arXiv:2402.01306, equation 7.

    A chosen reply is a desirable one, a rejected an undesirable, and both weigh 1.
    """
    chosen, rejected = log_ratios(ask, rows).unbind()
    return (torch.sigmoid(beta * (step.drift - chosen)) + torch.sigmoid(beta * (rejected - step.drift))) / 2


def orpo(ask: LogprobFunction, rows: list[PreferencePair], step: StepContext, beta: float) -> Tensor:
    """n - beta log sigmoid(log odds(w) - log odds(l)), odds(p) = p / (1 - p): arXiv:2403.07691, equations 6 and 7.

    w and l are the replies' probabilities by token (the geometric mean), n the negative log-likelihood of the chosen
    conversation, of the prompt too: summed over the pairs of a step and divided by their number, its mean by token.
    """
    texts = [[row.chosen, row.rejected, pairs.complement(row.chosen)] for row in rows]
    chosen, rejected, rest = ask([text for some in texts for text in some]).view(-1, 3).unbind(1)
    better, worse = per_token(torch.stack([chosen, rejected]), rows).unbind()
    return beta * negative_log_sigmoid(log_odds(better) - log_odds(worse)) - (chosen + rest) / step.length


FORMULAS = {"sigmoid": dpo, "ipo": ipo, "kto": kto, "orpo": orpo}


def negative_log_sigmoid(margin: Tensor) -> Tensor:
    """-log sigmoid(margin): ln 2 where there is none."""
    return torch.as_tensor(-F.logsigmoid(margin))


def log_ratios(ask: LogprobFunction, rows: list[PreferencePair]) -> Tensor:
    """How much likelier the replies are than in the beginning, as logarithms [chosen and rejected, pairs]."""
    found = ask([text for row in rows for text in (row.chosen, row.rejected)]).view(-1, 2)
    return (found - found.new_tensor([row.began[:2] for row in rows])).T


def kl_estimate(ask: LogprobFunction, rows: list[PreferencePair]) -> float:
    """The mean gain of strangers, at least 0: an estimate of how far the model has gone (KL divergence)."""
    found = ask([text for row in rows for text in row.kl_examples])
    began = found.new_tensor([likely for row in rows for likely in row.began[2:]])
    return max(0.0, float((found - began).mean()))


def per_token(sums: Tensor, rows: list[PreferencePair]) -> Tensor:
    """Means over the tokens of the replies [chosen and rejected, pairs]."""
    return sums / sums.new_tensor([[count_labels(row.chosen), count_labels(row.rejected)] for row in rows]).T


def log_odds(logarithm: Tensor) -> Tensor:
    """Of a probability that is given by its logarithm."""
    unsure = logarithm.clamp(max=-SURE)
    return unsure - torch.log(-torch.expm1(unsure))
