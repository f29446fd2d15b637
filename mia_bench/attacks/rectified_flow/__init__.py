"""Attacks that were stated for rectified flows; their form for U-Nets is beside it."""
