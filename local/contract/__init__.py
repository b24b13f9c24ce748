"""Writes down what others rely on, as it follows from the functions' code."""
