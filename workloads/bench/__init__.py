"""How fast, how large and how hungry is a model? `python -m workloads bench`; its clock is the quantizer's as well."""
