"""What a trained run is measured by."""
