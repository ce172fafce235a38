"""Training while a model is quantized: QAT, and the training after compression."""
