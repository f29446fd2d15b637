"""What a run consists of, under which keys, and whether it can be carried out."""
