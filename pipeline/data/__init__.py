"""Shards, images and batches."""
