"""Ratios of our speed to an alternative's, timed in one run on one machine."""
