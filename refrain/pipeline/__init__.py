"""What every stage stands on: the schema of params.yaml, its checks and its loading, where files are, how a stage
starts, its JSON report, checksums, and what earlier commits recorded. Imports no other room."""
