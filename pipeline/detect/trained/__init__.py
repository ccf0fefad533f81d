"""Models that were trained offline: which run, what they say, and how the one in the shadow would do."""
