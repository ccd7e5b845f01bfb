"""What is learned: each objective is features, a normaliser and a loss over log-probabilities (objective.py has the
protocol)."""
