"""Training: from a dataset and a recipe to a calibrated, evaluated and registered model."""
