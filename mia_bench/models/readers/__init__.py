"""What lies on a disk as a model, part by part: folders, single files, embeddings."""
