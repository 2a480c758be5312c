"""Proposals by a language model: prompts, the conversation, replies, and the clients of model servers."""
