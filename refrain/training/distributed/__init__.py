"""Several processes: how they start, what they say to each other, and sharded weights."""
