"""Commands by what they do: look at resources, change them, or ask no cluster at all."""
