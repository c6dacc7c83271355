"""Volumes and pictures: reading and writing them, and the one sampler."""
