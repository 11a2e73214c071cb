"""Compiled kernels, each with its slow, obvious reference beside it."""
