"""config.json and tensors of one family each, read into one description of a decoder; a field that nobody reads is
refused."""
