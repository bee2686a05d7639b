"""Storage pools on this machine, and images in them."""
