"""Two runs beside each other: which is better, and whether chance explains it."""
