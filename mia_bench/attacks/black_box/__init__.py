"""Attacks that see pictures alone: what a model generates from a caption or from an image."""
