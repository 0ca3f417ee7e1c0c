"""`vid export` and `vid stream`."""
