"""Raw rows to conversations: each shape is one `parse(row)`, recognised by the fields that a row has."""
