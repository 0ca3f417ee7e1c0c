"""Optimisers, stages, and resuming."""
