"""How the files of a card are run: by Refrain, and by ONNX Runtime alone."""

from refrain.evaluation.model_card import markdown

ORT = """
import json
import numpy, onnxruntime
from tokenizers import Tokenizer

session = onnxruntime.InferenceSession("best/model.onnx")
tokenizer = Tokenizer.from_file("best/tokenizer.json")
stop_ids = json.load(open("best/generation_config.json"))["eos_token_id"]
inputs = {each.name: each.shape for each in session.get_inputs()}
empty = {name: numpy.zeros([1, shape[1], 0, shape[3]], "float32") for name, shape in inputs.items() if "past" in name}
prompt = "..."  # as best/chat_template.jinja writes it
ids = tokenizer.encode(prompt, add_special_tokens=False).ids
start = len(ids)
while len(ids) < start + 64 and ids[-1] not in stop_ids:
    feed = {"input_ids": numpy.array([ids]), "attention_mask": numpy.ones((1, len(ids)), "int64"), **empty}
    feed |= {"logits_at": numpy.array([len(ids) - 1])} if "logits_at" in inputs else {}
    feed |= {"position_ids": numpy.arange(len(ids))[None]} if "position_ids" in inputs else {}
    ids.append(int(session.run(["logits"], feed)[0][0, -1].argmax()))
print(tokenizer.decode(ids[start:]))
""".strip()


def usage_section() -> str:
    return markdown.section(
        "How to run it",
        "In the folder of this file; nothing of PyTorch is needed:",
        "```sh\nrefrain check .                    # whether every file is what was exported\n"
        'refrain chat --model . --prompt "..."\n'
        "refrain serve --model .            # OpenAI's API, and a page to talk to it\n```",
        '```python\nimport refrain\n\nprint(refrain.load(".").chat("..."))\n```',
        "With ONNX Runtime alone, without a cache of keys and values:",
        f"```python\n{ORT}\n```",
    )
