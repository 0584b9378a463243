"""Encoders, and what is put on them: one file per paper."""
