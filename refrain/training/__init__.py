"""From rows to learned weights: objectives say what is learned, batching and packing what shares a pass, the trainer
does it, checkpoints and callbacks watch over it; audit/ holds what is about to be learned against the rows first."""
