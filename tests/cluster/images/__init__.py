"""Builds Slipway's images and brings them to a cluster's nodes."""
