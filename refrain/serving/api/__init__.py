"""What requests may say and what answers look like: types, names, and what becomes of each field."""
