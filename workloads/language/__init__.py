"""Causal language models as artifacts: Hugging Face's and PEFT's folders, tokenizers, chat templates, probes."""
