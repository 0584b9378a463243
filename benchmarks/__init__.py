"""Ratios: ours against another way of doing the same, in one run on one machine."""
