"""Predictions: scores of a batch, rows of a run, and the runner over many videos."""
