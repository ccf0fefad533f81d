"""Signals: from raw series to what people reason about, per service and frame interval."""
