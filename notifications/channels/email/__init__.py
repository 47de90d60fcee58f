"""E-mail: one adapter for the channel, one mailer for each way that carries mails.

`channel.py` decides who an event is mailed to and renders it; `message.py` makes the message;
`folder.py` writes it to a folder, which needs no account and no mail server; `smtp.py` hands it to
a mail server, over the connections of `smtp_pool.py` and `smtp_session.py`, judging answers by
`smtp_answers.py` and waiting at `smtp_gate.py` while the server takes nothing from us.
`mailers.py` says which of them it is.
"""
