"""Generation of texts by a language model over OpenAI's API: requests in, tokens through an engine's process, text out.

The engine schedules, pages and samples; everything that a client can be wrong with is refused before it.
"""
