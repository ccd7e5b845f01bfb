"""Ids and labels of a conversation: what it saves that each of its beginnings is rendered once.

    python -m benchmarks.encode

Beside it, call by call in one process, the same code renders a beginning whenever it is asked for.
"""

import json
import tempfile
from pathlib import Path
from time import perf_counter
from unittest.mock import patch

from omegaconf import OmegaConf

from benchmarks.harness import tables
from refrain.chat import encoding, templates
from refrain.chat.records import Message
from refrain.models.pretrained.tiny import SPECIAL, train_tokenizer

SENTENCE = "The water of the lake is as warm as the air of a day in May, and nobody knows why. "
SECONDS = 3.0


class Unshared(encoding.Beginnings):
    """Forgets each text as soon as it is rendered."""

    def render(self, turns: int, add_generation_prompt: bool = False) -> tuple[str, list[int]]:
        self.rendered.clear()
        return super().render(turns, add_generation_prompt)


KINDS = (encoding.Beginnings, Unshared)


def encode(kind: type[encoding.Beginnings], tokenizer: encoding.ChatTokenizer, messages: list[Message]) -> float:
    """Microseconds that ids and labels take."""
    with patch.object(encoding, "Beginnings", kind):
        begin = perf_counter()
        encoding.encode_conversation(tokenizer, messages)
        return 1e6 * (perf_counter() - begin)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        train_tokenizer([SENTENCE] * 9, 400).save(f"{folder}/tokenizer.json")
        Path(folder, "tokenizer_config.json").write_text(json.dumps({"eos_token": SPECIAL[2]}))
        tokenizer = encoding.load_tokenizer(Path(folder), OmegaConf.load("conf/template/chatml.yaml").jinja)
    rows = [["replies", "renders", "renders, unshared", "microseconds", "microseconds, unshared"]]
    for replies in (1, 4, 16):
        messages: list[Message] = [{"role": role, "content": SENTENCE * 4} for role in ("user", "assistant") * replies]
        renders = []
        for kind in KINDS:
            with patch.object(templates, "render_template", wraps=templates.render_template) as render:
                encode(kind, tokenizer, messages)
            renders.append(str(render.call_count))
        end, times = perf_counter() + SECONDS, []
        while perf_counter() < end:
            times.append([encode(kind, tokenizer, messages) for kind in KINDS])
        rows.append([str(replies), *renders, *(f"{min(column):,.0f}" for column in zip(*times, strict=True))])
    print(tables.to_markdown(rows))


if __name__ == "__main__":
    main()
