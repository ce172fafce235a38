"""The three kinds as pydantic models: the single source of truth for CRDs, validation and documents."""
