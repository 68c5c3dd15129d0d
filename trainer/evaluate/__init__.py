"""Measures of reward models: ranking quality, best-of-N and its picture."""
