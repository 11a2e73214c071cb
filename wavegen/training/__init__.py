"""One training loop for every model, with its data, losses and discriminators."""
