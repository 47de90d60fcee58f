"""E-mail: one adapter for the channel, one mailer for each way that carries mails.

`channel.py` decides who an event is mailed to and renders it; `message.py` makes the message;
`folder.py` writes it to a folder, which needs no account and no mail server.
"""
