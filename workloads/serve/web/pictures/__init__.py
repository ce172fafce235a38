"""Pictures in `/predict`: from a file's bytes to the model's input, and back to the picture."""
