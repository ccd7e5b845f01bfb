"""From any file to data/prepared: readers (bytes to raw rows), shapes (raw rows to conversations), cleaning,
splitting, and the files and reports that come of it. Flows in that order, never back."""
