"""The model card in the Hub's format: facts -> front matter and sections -> README.md, and the scores once measured."""
