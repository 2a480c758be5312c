"""Run the research around the one editable file, train_mlx.py. The loop's own process never imports mlx."""
