"""Where a base comes from: the Hub at a revision, a local folder, or the tiny one that is trained here; checked
before it is used."""
