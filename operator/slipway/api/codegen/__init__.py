"""Files that are generated from the models: CRDs and reference pages."""
