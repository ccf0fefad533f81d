"""Anomalies from their first firing to their end."""
