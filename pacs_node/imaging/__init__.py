"""Pixels in and out: pure functions on arrays and data sets."""
