"""What all learned systems share when they are trained: the loop, averaged weights, checkpoints, curves, pictures.

Module-level imports are torch, numpy, scipy and safetensors only, so that everything runs on a bare machine with an
accelerator. ``QUEUE.md`` lists jobs that are ready for one.
"""
