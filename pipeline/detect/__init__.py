"""Detect: learns what is normal, flags what is not, and closes a frame per service and interval."""
