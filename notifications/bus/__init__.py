"""The bus: topology, filters, and the adapters that carry messages."""
