"""Ingest: what producers send, in any format, becomes canonical batches keyed by service, or a dead letter."""
