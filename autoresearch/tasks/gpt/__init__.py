"""GPT pretraining: the contract of train_mlx.py, its children, and their fit to this machine."""
