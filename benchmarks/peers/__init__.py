"""Other detectors, run outside of this project's environment."""
