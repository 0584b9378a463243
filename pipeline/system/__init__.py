"""Files, locks, signals and progress: what meets the operating system."""
