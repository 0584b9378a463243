"""Device, precision, compilation, several processes, convolutions."""
