"""Encoders, decoders and heads: one file per paper."""
