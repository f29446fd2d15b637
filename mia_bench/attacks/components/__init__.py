"""What several attacks share, and the ensemble of stored features."""
