"""The protocols that adapters implement."""
