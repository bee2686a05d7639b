"""The HTTP API: routes, websockets, and errors turned into problem+json in one place."""
