"""Builds wavegen. Its name, needs and contents stand in pyproject.toml; here stands what is compiled."""

from setuptools import setup

setup()
