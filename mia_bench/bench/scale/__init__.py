"""How time and memory grow: with rows, processes and stored runs."""
