"""Huntaze notification hub: publish an event once, deliver it on every channel."""
