"""What is about to be learned held against the rows, before the first step: labels, end markers, template; loads no
torch."""
