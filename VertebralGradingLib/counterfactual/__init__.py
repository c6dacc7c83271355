"""Counterfactuals without learning: a vertebra of the patient's own CT, warped to the heights of another grade."""
