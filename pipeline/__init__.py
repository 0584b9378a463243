"""Five papers on convolutional auto-encoders, reproduced from raw images to CSV."""
