"""Metrics of trained runs, and the images that they keep."""
