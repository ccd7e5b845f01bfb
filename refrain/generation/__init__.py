"""Replies: sampling, grammars, sequences that grow, continuous batching, beams. Everything that a server, a command
or a Python call needs to ask a model."""
