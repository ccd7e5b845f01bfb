"""Rows of every kind to be audited."""

from dialogues import ORDINARY, TYPED, dialogue

BORDERS = dialogue(" be\n", "hello ", "\n\n\nhello", "\n", "  hello\n\n", "hello", " there ")
SEVERAL = [*ORDINARY[:3], {"role": "assistant", "content": "hello again"}]
AWKWARD = {"ordinary": ORDINARY, "typed": TYPED, "borders": BORDERS, "several": SEVERAL}
ROWS = [{"id": name, "messages": messages} for name, messages in AWKWARD.items()]
