"""A demo: read a line of text in a picture, and check the bits."""
