"""ImageNet classes by kind."""

SYNSETS: dict[str, tuple[str, ...]] = {}
