"""Prompt lookup decoding: what followed the last tokens when they came before is likely to follow them again.

How much of it is fed beside the next token is a question of time alone, for no draft changes what is said: as many
tokens as promise the most for the time that they take, by how often drafts came true and what a row more has cost.
"""

from itertools import cycle, islice

MAX_NGRAM, MIN_NGRAM = 3, 2  # tokens that must have come before, for what followed them to be drafted
MIN_GAIN = 1.1  # tokens a second, in those of a step without a draft, for which a draft is worth its risk
PRIOR_ACCEPTANCE, PRIOR_WEIGHT = 0.75, 1.0  # of drafts, before there is one; high enough to try
ACCEPTANCE_DECAY = 0.97  # of what is known of drafts, with each step
COST_DECAY = 0.95  # of what is known of steps, with each step
PRIOR_ROW_COST, MIN_ROW_COST, MAX_ROW_COST = 0.3, 0.05, 1.0  # of a row more, in steps of one row


class PromptLookup:
    """What one sequence repeats, and how much of what was drafted for it came true."""

    def __init__(self, prompt_ids: list[int]) -> None:
        self._tokens, self._prompt_length = list(prompt_ids), len(prompt_ids)
        self._followers: dict[tuple[int, ...], int] = {}  # by n-gram, where the token is that followed it last
        self._num_indexed = 0
        self._num_tried = self._num_accepted = 0.0

    def find(self, ids: list[int], count: int) -> list[int]:
        """So many tokens that may follow a reply; none where its last ones are new, or nothing is wanted."""
        tokens = self._tokens
        tokens += ids[len(tokens) - self._prompt_length :]
        for end in range(self._num_indexed, len(tokens)):
            for size in range(MIN_NGRAM, min(MAX_NGRAM, end) + 1):
                self._followers[tuple(tokens[end - size : end])] = end
        self._num_indexed = len(tokens)
        for size in range(MAX_NGRAM, MIN_NGRAM - 1, -1):
            if (start := self._followers.get(tuple(tokens[-size:]))) is not None:
                return list(islice(cycle(tokens[start:]), count))
        return []

    @property
    def acceptance(self) -> float:
        """How likely the next token of a draft is to come true."""
        return (PRIOR_WEIGHT * PRIOR_ACCEPTANCE + self._num_accepted) / (PRIOR_WEIGHT + self._num_tried)

    def forget(self) -> None:
        """One step more has been made: what drafts were like before it counts a little less."""
        self._num_tried *= ACCEPTANCE_DECAY
        self._num_accepted *= ACCEPTANCE_DECAY

    def observe(self, num_drafted: int, num_accepted: int) -> None:
        """Count a draft; behind the first token that was another, nothing can be told."""
        self._num_tried += min(num_accepted + 1, num_drafted)
        self._num_accepted += num_accepted


class StepCosts:
    """Seconds of a step by its rows: the line through those that were made, the latest counting most."""

    def __init__(self) -> None:
        self._rows = self._seconds = self._variance = self._covariance = 0.0
        self._num_steps = 0

    def observe(self, rows: int, seconds: float) -> None:
        """Count a step."""
        self._num_steps += 1
        weight = max(1 - COST_DECAY, 1 / self._num_steps)
        row_delta, second_delta = rows - self._rows, seconds - self._seconds
        self._rows += weight * row_delta
        self._seconds += weight * second_delta
        self._variance = (1 - weight) * (self._variance + weight * row_delta**2)
        self._covariance = (1 - weight) * (self._covariance + weight * row_delta * second_delta)

    def row_cost(self, num_running: int) -> float:
        """What a row more takes, in steps of those that run."""
        cost = PRIOR_ROW_COST
        if self._variance > 1e-12:
            slope = self._covariance / self._variance
            single = self._seconds + slope * (1 - self._rows)
            cost = min(max(slope / single, MIN_ROW_COST), MAX_ROW_COST) if single > 0 else MAX_ROW_COST
        return cost / (1 + cost * (num_running - 1))


def choose_length(acceptance: float, row_cost: float, num_running: int, most: int) -> int:
    """How many tokens to draft, for the most tokens a second (arXiv:2211.17192, theorem 3.8); 0 where none gains."""
    best, best_gain, expected = 0, MIN_GAIN, 0.0
    for length in range(1, most + 1):
        expected += acceptance**length
        gain = (1 + expected / num_running) / (1 + row_cost * length)
        if gain > best_gain:
            best, best_gain = length, gain
    return best
