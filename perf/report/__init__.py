"""Renderers, one per format: each takes what was recorded and judged and returns text."""
