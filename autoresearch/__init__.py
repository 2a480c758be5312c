"""The loop's machinery: everything around the one editable file. Nothing here imports mlx."""
