"""The door's management API: ATOM over HTTP, as Service Bus's administration clients speak it."""
