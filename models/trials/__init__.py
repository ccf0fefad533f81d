"""What learners are put through: labelled corpora and synthetic trouble, and the figures that come of it."""
