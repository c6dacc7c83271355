"""Endplates, heights, focal defects, density, norms, the patient's reference, and Genant's scale."""
