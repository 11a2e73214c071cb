"""Everything that yields a mel."""
