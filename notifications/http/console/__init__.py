"""`/console`: the hub as its admin sees it, in pages made on the server."""
