"""The process: listening, connections and their times, signals, readiness, logs."""
