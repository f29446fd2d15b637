"""Attacks that need no caption of the image, and find a condition of their own."""
