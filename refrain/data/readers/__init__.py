"""Bytes to raw rows: JSON Lines, JSON documents, CSV, TSV and Parquet, also gzipped; every row with its line and
offset, every fault as a row that says so."""
