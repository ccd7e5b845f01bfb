"""The quick search is as good as comparing all with all."""

import random

from refrain import similarity


def test_the_search_finds_what_comparing_all_with_all_finds():
    rng = random.Random(0)
    sets = [similarity.shingles(rng.choices("abc", k=rng.randint(0, 30))) for _ in range(300)]
    sets += [{*list(one)[1:], "new"} for one in sets[:150] if one]
    known, asked = sets[::2], sets[1::2]

    def first(one):
        shares = (len(one & other) / (len(one | other) or 1) for other in known)
        return next((number for number, share in enumerate(shares) if share >= similarity.NEAR), None)

    near = similarity.search(known)
    expected = [first(one) for one in asked]
    assert [near(one) for one in asked] == expected
    assert 20 < sum(number is not None for number in expected) < len(asked)
