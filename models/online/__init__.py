"""Online learners, one a file, and the bank that combines them."""
