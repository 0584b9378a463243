"""What a target still costs."""
