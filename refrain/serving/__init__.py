"""Requests over HTTP: they are checked, made into ids, answered by a backend, and streamed as they grow."""
