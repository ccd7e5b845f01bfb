"""Weights: where a base comes from (pretrained/: Hub, folder, tiny), and what PyTorch does with it (pytorch/: load,
adapt, merge, speak)."""
