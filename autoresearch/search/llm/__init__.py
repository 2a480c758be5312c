"""Proposals by a language model: prompts, replies, repairs, and the clients of model servers."""
