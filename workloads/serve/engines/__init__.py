"""Engines, which compute the predictions: one Protocol, one file per engine, and `choose` which tries them in order.

Nothing heavy is imported here: an engine's library is imported when that engine is opened.
"""
