"""Versioned API types and their conversion: what goes over the wire, never the internal model."""
