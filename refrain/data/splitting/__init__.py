"""Which split a row goes to: duplicates, near duplicates, groups and contamination, found on columns in memory while
texts wait on disk."""
