"""Fields of fine-tuning."""
