"""The HTTP door: readings in, everything people and programs ask for out."""
