"""Grading in the latent space of a diffusion autoencoder, and ordinal counterfactuals (Keicher, Atad et al. 2023).

Each file is one part: ``network`` and ``sampler`` know nothing of each other, ``latent`` grades without torch.
"""
