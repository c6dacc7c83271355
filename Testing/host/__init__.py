"""A headless stand-in for the Slicer application over the real MRML library, for tests."""
