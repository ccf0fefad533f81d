"""Learners, evaluation and training: arrays in, arrays out; knows nothing of the pipeline."""
