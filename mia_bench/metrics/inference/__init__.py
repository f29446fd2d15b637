"""Tests and intervals for one small set of pictures, whose false alarms are bounded by design."""
