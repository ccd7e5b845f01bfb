"""The models that are served: verified, opened when they are asked for, replaced under way."""
