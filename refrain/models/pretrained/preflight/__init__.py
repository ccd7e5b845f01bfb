"""Whether the whole way is open for a model, from its config.json, tokenizer and tensor headers alone: each obstacle is
one sentence that names file and field."""
