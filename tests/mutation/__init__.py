"""Mutation of source files: a small change that no test notices is a behaviour without a test."""
