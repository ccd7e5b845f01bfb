"""A function applied to a stream of items: in this process, in several, or on Ray; results in order, the same bytes
for any number of workers."""
