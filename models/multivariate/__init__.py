"""What is odd about all signals of a service together, though each alone may be as ever."""
