"""The pipeline from Python, without DVC: rows to a model to a proven artifact, each stage a process in a folder that is
laid out as the repository is. `repository` holds links to what a folder needs for that; a wheel has the files."""
