"""The ways to ask a model: Azure's OpenAI-compatible endpoint, and one that needs no account."""
