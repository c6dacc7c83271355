"""Grading in the latent space of a diffusion autoencoder, and ordinal counterfactuals (Keicher, Atad et al. 2023).

Each file is one part: ``network`` and ``sampler`` know nothing of each other, ``latent`` grades without torch.
"""

WINDOW_HU = (-300.0, 800.0)
"""What the networks see, cut to and scaled to -1..1 (sheet 1, section 2)."""
VOI_MM = (30.0, 44.0)
"""Height and depth of the box around the vertebra of interest, where no mask says what it covers."""
