"""Realtime: toasts and the inbox, pushed to whoever is connected.

channel.py     the channel: an event becomes an inbox row, the push tells of it
items.py       what an inbox row is and looks like; pure
tokens.py      user tokens, and the access tokens that open a socket
sockets.py     the built-in socket service: who is connected, and the push
handshake.py   what a client shows on its way in, and how it is turned away
seats.py       how many are connected, of each user and in all
connection.py  one websocket: straight writes, a bounded backlog, an orderly end
sessions.py    what a conversation has to be, whatever its protocol
plain.py       the conversation with a client of `json.webpubsub.azure.v1`
reliable.py    with one of `json.reliable.webpubsub.azure.v1`, which can lose its connection
simple.py      with one that speaks no protocol and only listens
unacknowledged.py  what reliable clients were sent and have not acknowledged
recoveries.py  reliable sessions whose client is away, until it comes back or for a minute
service_http.py, service_api.py, service_access.py  the REST API for Web PubSub's own SDKs
webpubsub.py   Azure Web PubSub in place of the built-in sockets
signalr_session.py, signalr_tokens.py, signalr_negotiation.py, signalr_service.py  the same
               for SignalR's clients and servers, under `/signalr`
signalr.py     Azure SignalR Service in place of the built-in sockets
azure_answers.py  what Azure's services answer, as outcomes
gateways.py    what pushes, as the settings ask for it
groups.py      groups of connections, and what a token's roles allow
frames.py      the protocols' frames; pure
"""
