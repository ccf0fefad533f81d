"""Anomalies that belong together, and which service is their cause."""
