"""Telemetry: what a service's pods say of their traffic and their model, kept between looks."""
