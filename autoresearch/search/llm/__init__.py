"""Propose with a language model: prompts, the conversation, replies, and the clients of model servers."""
