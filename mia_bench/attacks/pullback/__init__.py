"""Decoder pull-back: latent entries that hardly move the image are left out (arXiv 2511.20592)."""
