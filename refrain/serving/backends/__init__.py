"""Where replies come from: the exported model, the merged one in PyTorch, or another server."""
