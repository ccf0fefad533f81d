"""Offline: the live stages over recorded data, without Kafka."""
