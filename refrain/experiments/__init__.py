"""Runs seen from outside: compose one, search many, rebuild and verify one, trace an artifact, and the tables that a
person reads."""
