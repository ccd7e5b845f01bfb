"""What leaves the repository: plan of files -> checks -> a folder or a repository of the Hub."""
