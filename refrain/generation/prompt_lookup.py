"""Prompt lookup decoding: what followed the last tokens when they came before is likely to follow them again.

How much of it is fed beside the next token is a question of time alone, for no draft changes what is said: as many
tokens as promise the most for the time that they take, by how often drafts came true and what a row more has cost.
"""

from itertools import cycle, islice

NGRAM = 2  # tokens that must have come before, for what followed them to be drafted
MAX_MATCH, MAX_PLACES = 16, 16  # tokens in common that are counted, of so many places, the latest
MIN_GAIN = 1.1  # tokens a second, in those of a step without a draft, for which a draft is worth its risk
PRIOR_ACCEPTANCE, PRIOR_WEIGHT = 0.75, 1.0  # of drafts, before there is one; high enough to try
ACCEPTANCE_DECAY = 0.97  # of what is known of drafts, with each token
COST_WEIGHT = 0.1  # of the latest step, in what steps take
ROW_COST_DECAY = 0.99  # with each step without a draft, so that a draft that was interrupted is not the last one
PRIOR_ROW_COST, MIN_ROW_COST, MAX_ROW_COST = 0.3, 0.05, 1.0  # of a row more, in steps without drafts


class PromptLookup:
    """What one sequence repeats, and how much of what was drafted for it came true."""

    def __init__(self, prompt_ids: list[int]) -> None:
        self._tokens, self._prompt_length = list(prompt_ids), len(prompt_ids)
        self._followers: dict[tuple[int, int], list[int]] = {}  # by n-gram, where the tokens are that followed it
        self._num_indexed = NGRAM
        self._num_tried = self._num_accepted = 0.0
        self._observed_at = 0  # tokens, when that was counted last

    def find(self, ids: list[int], count: int) -> list[int]:
        """So many tokens that may follow a reply; none where its last ones are new, or nothing is wanted.

        Where they came several times, it is where most was in common before them, and of such places the latest.
        """
        tokens = self._tokens
        tokens += ids[len(tokens) - self._prompt_length :]
        for end in range(self._num_indexed, len(tokens)):
            self._followers.setdefault((tokens[end - 2], tokens[end - 1]), []).append(end)
        self._num_indexed = max(NGRAM, len(tokens))
        if not count or len(tokens) < NGRAM or not (places := self._followers.get((tokens[-2], tokens[-1]))):
            return []
        start = max(places[-MAX_PLACES:], key=lambda place: (self._match_length(place), place))
        return list(islice(cycle(tokens[start:]), count))

    def _match_length(self, place: int) -> int:
        """How many tokens before a place are the last ones too."""
        tokens, end = self._tokens, len(self._tokens)
        most = min(place, MAX_MATCH)
        return next((n for n in range(most) if tokens[place - 1 - n] != tokens[end - 1 - n]), most)

    @property
    def acceptance(self) -> float:
        """How likely the next token of a draft is to come true; what was seen long ago counts less."""
        weight = ACCEPTANCE_DECAY ** (len(self._tokens) - self._observed_at)
        prior = PRIOR_WEIGHT * PRIOR_ACCEPTANCE
        return (prior + weight * self._num_accepted) / (PRIOR_WEIGHT + weight * self._num_tried)

    def observe(self, num_drafted: int, num_accepted: int) -> None:
        """Count a draft; behind the first token that was another, nothing can be told."""
        weight = ACCEPTANCE_DECAY ** (len(self._tokens) - self._observed_at)
        self._num_tried = weight * self._num_tried + min(num_accepted + 1, num_drafted)
        self._num_accepted = weight * self._num_accepted + num_accepted
        self._observed_at = len(self._tokens)


class StepCosts:
    """What steps take with drafts and without, the latest counting most."""

    def __init__(self) -> None:
        self._num_running, self._seconds = 0, 0.0  # of a step without drafts
        self._row_seconds: float | None = None

    def observe(self, num_running: int, num_drafted: int, seconds: float) -> None:
        """Count a step."""
        if num_drafted == 0:
            weight = COST_WEIGHT if num_running == self._num_running else 1.0
            self._num_running = num_running
            self._seconds += weight * (seconds - self._seconds)
            if self._row_seconds is not None:
                self._row_seconds *= ROW_COST_DECAY
        elif num_running == self._num_running:
            measured = min((seconds - self._seconds) / num_drafted, MAX_ROW_COST * self._seconds)
            before = measured if self._row_seconds is None else self._row_seconds
            self._row_seconds = before + COST_WEIGHT * (measured - before)

    def row_cost(self, num_running: int) -> float:
        """What a row more takes, in steps of those that run."""
        if self._row_seconds is None or num_running != self._num_running or self._seconds <= 0:
            return PRIOR_ROW_COST / (1 + PRIOR_ROW_COST * (num_running - 1))
        return min(max(self._row_seconds / self._seconds, MIN_ROW_COST / num_running), MAX_ROW_COST)


def choose_length(acceptance: float, row_cost: float, num_running: int, most: int) -> int:
    """How many tokens to draft, for the most tokens a second (arXiv:2211.17192, theorem 3.8); 0 where none gains."""
    best, best_gain, expected = 0, MIN_GAIN, 0.0
    for length in range(1, most + 1):
        expected += acceptance**length
        gain = (1 + expected / num_running) / (1 + row_cost * length)
        if gain > best_gain:
            best, best_gain = length, gain
    return best
