"""Text of generated tokens: detokenizing, stop strings, grammars of JSON, tool calls. Pure."""
