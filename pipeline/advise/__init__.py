"""Frames in; incidents, recommendations and outcomes out."""

from pipeline.advise.rules.catalogue import load_advice

__all__ = ["load_advice"]
