"""The `huntaze` command: one module per command group."""
