"""The bus in production: Azure Service Bus, through Microsoft's SDK.

One connection per topic that is sent to and per subscription that is received from, since that is
how the SDK works. Nothing of the SDK leaves this package, and nothing outside it imports it before
`HUNTAZE_BUS` says `servicebus`.
"""
