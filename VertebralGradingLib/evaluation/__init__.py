"""Protocols, metrics and tables by which all systems are judged."""
