"""`vid data stats`: durations, frame rates, sizes and class balance."""
