"""One source of chance: a seed for every step and purpose."""

import hashlib


def chance(*numbers: int | str) -> int:
    """A seed that follows from who is drawing, and for what."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=7).digest())
