"""What each piece of work is: caps resolved, key, path."""
