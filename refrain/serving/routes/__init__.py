"""One module for each family of routes: what it reads, what it answers."""
