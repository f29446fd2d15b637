"""Attacks that walk from the image towards noise by DDIM, and look at what becomes of it."""
