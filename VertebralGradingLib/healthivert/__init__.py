"""Pseudo-healthy vertebrae and the height they lost: the system of HealthiVert-GAN (arXiv 2503.05990)."""
