"""The file format of models, and the names of those that are shipped."""

from wavegen.checkpoints.file import Header, load, read_header, save
from wavegen.checkpoints.registry import ModelCard, card, list_models, resolve

__all__ = ["Header", "ModelCard", "card", "list_models", "load", "read_header", "resolve", "save"]
