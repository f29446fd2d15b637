"""What is on disk: folders that are complete or absent, named by content keys."""
