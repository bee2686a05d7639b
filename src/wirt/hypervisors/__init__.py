"""Drivers behind the hypervisor port."""
