"""Martlet's code interpreter: an HTTP server in front of kernels that keep their state."""
