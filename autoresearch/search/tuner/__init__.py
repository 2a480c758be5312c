"""Propose changes of constants without a language model: the built-in tuner."""
