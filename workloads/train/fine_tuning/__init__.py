"""Fine-tuning of causal language models in the trainer's one loop: the model, its adapters, and what is published."""
