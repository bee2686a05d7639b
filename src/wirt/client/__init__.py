"""The typed client of wirt's API: HTTP and websockets over the daemon's unix socket. Imports wire/ only."""
