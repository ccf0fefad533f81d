"""What says that a frame or a series deviates: rules, learners, absence."""
