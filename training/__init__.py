"""Pairs, losses, loops and metrics: everything that makes weights."""
