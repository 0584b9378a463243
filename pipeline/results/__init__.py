"""Measurements as tables, claims, figures and pages."""
