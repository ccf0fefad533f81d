"""What people look at: the live terminal view, and how values are written for them."""
