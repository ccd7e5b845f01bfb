"""Members of large groups of candidates, taken in by their kind as prompts are placed: each once, so that the time
stays in proportion to the rows."""

from collections import defaultdict
from collections.abc import Callable

import numpy as np

from refrain.data.splitting import ragged
from refrain.data.splitting.near_prompts import NearSearch
from refrain.data.splitting.ragged import Array

CROWD = 2_000  # from so many others on, the first is taken for near unseen


class CrowdMembers:
    """Asked about prompts in their order: earlier ones are placed by then, and their kinds no longer change."""

    def __init__(
        self, search: NearSearch, kinds_of: Callable[[Array], Array], is_bounded: Callable[[int], bool]
    ) -> None:
        """The kinds of prompts are numbers, below 0 for those that count for nothing; of a bounded one CROWD are
        enough."""
        self.search, self.kinds_of, self.is_bounded = search, kinds_of, is_bounded
        self.next_member = search.candidates.groups.starts.copy()
        self.members: dict[int, dict[int, Array]] = defaultdict(dict)  # by group and kind

    def earlier_candidates(self, prompt: int) -> Array:
        """As of the search, but of a bounded kind with a crowd in one group no more than show that, and the first."""
        groups = [
            group for number in self.search.own_sets(prompt) for group in self.search.candidates.groups_of[number]
        ]
        by_kind: dict[int, list[Array]] = defaultdict(list)
        for group in dict.fromkeys(map(int, groups)):
            self.take_in(group, prompt)
            for kind, members in self.members[group].items():
                by_kind[kind].append(members)
        parts = [np.zeros(0, np.int64)]
        for kind, lists in by_kind.items():
            crowd = next((members for members in lists if len(members) > CROWD and self.is_bounded(kind)), None)
            parts += lists if crowd is None else [crowd, *(members[:1] for members in lists)]
        return ragged.sorted_unique(np.concatenate(parts))

    def take_in(self, group: int, prompt: int) -> None:
        """The members of a group that come before a prompt."""
        groups, per_prompt = self.search.candidates.groups, self.search.sets_per_prompt
        waiting = groups.flat[int(self.next_member[group]) : int(groups.ends[group])]
        count = int(np.searchsorted(waiting, prompt * per_prompt))
        self.next_member[group] += count
        prompts = waiting[:count] // per_prompt
        prompts = prompts[ragged.is_first_of_equals(prompts)]
        kinds = self.kinds_of(prompts)
        of_group = self.members[group]
        for kind in set(kinds.tolist()) - {-1}:
            known = of_group.get(kind, prompts[:0])
            if len(known) <= CROWD or not self.is_bounded(kind):
                of_group[kind] = np.concatenate([known, prompts[kinds == kind]])[: self.limit(kind)]

    def limit(self, kind: int) -> int | None:
        return CROWD + 1 if self.is_bounded(kind) else None
