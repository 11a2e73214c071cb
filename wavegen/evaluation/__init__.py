"""Metrics, and the protocol that says how they are taken: see PROTOCOL.md beside this file."""
