"""Pixel-space DDPMs without text: trained from scratch, or read from files that others share."""
