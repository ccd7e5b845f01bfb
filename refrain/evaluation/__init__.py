"""Any language model in numbers: scores on the test rows, distance from another model, the proof of a chain of models
and the gate that it must pass."""
