"""How this host's wirtd talks to those of other hosts: through TLS with pinned certificates, or through ssh."""
