"""What training and proof do in another way on a CPU, for it is faster there."""
