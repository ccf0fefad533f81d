"""Offline work on models: features, training, the registry."""
