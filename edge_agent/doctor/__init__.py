"""What is wrong with a box, and what to do about it."""
