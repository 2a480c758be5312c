"""Recipes: changes of train_mlx.py that public records found to pay elsewhere, each a file of the catalogue."""
