"""Samples as a model receives them: index, sampler, data set."""
