import pytest

from refrain.pipeline.plurals import format_count


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (1, "row", "1 row"),
        (0, "row", "0 rows"),
        (2279, "training row", "2,279 training rows"),
        (1.0, "epoch", "1 epoch"),
        (0.5, "epoch", "0.5 epochs"),
        (2, "reply", "2 replies"),
        (2, "key", "2 keys"),
        (3, "batch", "3 batches"),
        (2, "matrix", "2 matrices"),
    ],
)
def test_a_number_has_the_noun_that_people_write(count, noun, text):
    assert format_count(count, noun) == text
