"""The catalogue of tuning rules: what each asks, whether it holds, and what it says then."""
