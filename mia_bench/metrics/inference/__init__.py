"""Tests of whole sets of pictures, and intervals for small ones, false alarms bounded by design."""
