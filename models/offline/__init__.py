"""What training a model needs beyond scikit-learn: features, injected anomalies, a bootstrap."""
