"""What `refrain doctor` looks at: each module yields findings about one thing, and what to do about each."""
