"""What watches over a training: checkpoints, early stopping, progress, curves, trackers."""
