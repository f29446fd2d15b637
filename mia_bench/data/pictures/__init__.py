"""From the bytes of a picture to pixels at a model's resolution, and to batches of them."""
