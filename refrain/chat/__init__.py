"""A conversation as rows, as text and as token ids: the one owner of the prompt, of the label mask and of where a
reply ends. Rows come in, ids and labels go out."""
