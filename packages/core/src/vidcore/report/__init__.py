"""What a run leaves to look at: a page with pictures, and what loggers are told."""
