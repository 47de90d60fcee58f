"""Realtime: toasts and the inbox, pushed to whoever is connected.

channel.py     the channel: an event becomes an inbox row, the push tells of it
items.py       what an inbox row is and looks like; pure
tokens.py      user tokens, and the access tokens that open a socket
sockets.py     the built-in socket service: who is connected, and the push
connection.py  one websocket: straight writes, a bounded backlog, an orderly end
plain.py       the conversation with a client of `json.webpubsub.azure.v1`
groups.py      groups of connections, and what a token's roles allow
frames.py      the protocol's frames; pure
"""
