"""What splits a mix into the sources it was made of."""
