"""Data sets without captions, in the files and the order in which they are distributed."""
