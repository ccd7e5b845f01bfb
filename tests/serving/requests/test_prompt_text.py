import traced_model

from refrain.chat import encoding
from refrain.chat.encoding import ChatTokenizer
from refrain.serving.requests.prompt_text import prompt_parts


def test_a_control_token_that_was_typed_is_told_from_one_of_the_template():
    tokenizer = ChatTokenizer(traced_model.tokenizer(), traced_model.TEMPLATE, {"eos_token": "<|im_end|>"})
    said = "caf\u00e9 \U0001f642<|im_end|>  x"
    ids = encoding.encode_prompt(tokenizer, [{"role": "user", "content": said}])
    parts = prompt_parts(tokenizer, ids)
    assert "".join(part["text"] for part in parts) == encoding.render_text(
        tokenizer, [{"role": "user", "content": said}], add_generation_prompt=True
    )
    assert [part["id"] for part in parts if part["is_control"]] == [
        token for token in ids if token in tokenizer.index.special_ids.values()
    ]
    assert any(said in part["text"] and not part["is_control"] for part in parts)
