"""Define the GPT pretraining task: the contract of train_mlx.py, its child processes, and their fit to this machine."""
