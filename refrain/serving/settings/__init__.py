"""What can be set: types and defaults, and the file, the variables and the options that set it."""
