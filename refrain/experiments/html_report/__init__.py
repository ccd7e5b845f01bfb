"""One HTML file that a colleague opens: sections of words, pictures and tables, without a network."""
