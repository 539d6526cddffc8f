"""The prior-authorization domain."""
