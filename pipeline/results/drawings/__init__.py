"""Drawings of figures, a file a paper."""
