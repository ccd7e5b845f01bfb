"""An exchange is a question and its answer in one object."""

import pytest
from single_rows import TURNS, said, talk


@pytest.mark.parametrize("names", [("human", "assistant"), ("user", "assistant"), ("input", "output")])
@pytest.mark.parametrize("column", ["conversation", "conversations", "messages"])
def test_exchanges_are_turns(names, column):
    exchanges = [dict(zip(names, pair, strict=True)) for pair in (("Hi", "Hello"), ("And?", "So."))]
    assert said({column: exchanges})["messages"] == talk("Hi", "Hello", "And?", "So.")


def test_an_exchange_may_have_a_system_prompt_or_be_context():
    first = {"system": "Be kind.", "input": "Hi", "output": "Hello", "output_with_loss": False}
    system, asked, answered = [{"role": "system", "content": "Be kind."}, *TURNS]
    messages = said({"conversation": [first, {"input": "And?", "output": "So."}]})["messages"]
    assert messages == [system, asked, {**answered, "train": False}, *talk("And?", "So.")]
