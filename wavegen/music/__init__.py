"""Symbolic music: from a prompt to a score."""
