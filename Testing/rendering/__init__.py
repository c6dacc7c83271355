"""Volumes made on the fly for tests: an analytic spine with known truth, and CT rendered from real vertebra masks."""
