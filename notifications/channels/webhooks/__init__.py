"""Customer webhooks: signing, the address guard, the sender and the channel."""
