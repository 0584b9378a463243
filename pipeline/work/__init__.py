"""Pieces of work: specification after the scale's caps, key, path."""
