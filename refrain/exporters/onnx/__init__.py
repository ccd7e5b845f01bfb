"""The description drawn as an ONNX graph with fused operators, in full precision or in blocks of few bits; the best
variant and its manifest."""
