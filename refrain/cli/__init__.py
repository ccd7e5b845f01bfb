"""The `refrain` command: options in, text out, nothing else."""
