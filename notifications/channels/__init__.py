"""The channels: realtime, e-mail, webhooks; one folder each."""
