"""SpinePhantom: synthetic spine CT with known truth, before and after the fracture.

A spine is one continuous function of position (:mod:`phantom.field`), fixed by a seed and plain arrays
(:mod:`phantom.parameters`). A whole CT, a straightened block and a sagittal patch are samples of it. Needs torch.
"""
