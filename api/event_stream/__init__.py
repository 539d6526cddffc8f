"""What happens in a tenant, told to whoever listens, while it happens (server-sent events)."""
