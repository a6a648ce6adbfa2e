"""What a replaced box needs of the one before it, as one file."""
