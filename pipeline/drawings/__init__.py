"""Drawings that one paper alone has."""
