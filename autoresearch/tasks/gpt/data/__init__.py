"""Prepare data sets: download, tokenize and pack text, at the scale that a profile sets."""
