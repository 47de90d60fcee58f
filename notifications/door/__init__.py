"""The door: an AMQP 1.0 listener in front of a broker, for clients of Azure Service Bus."""
