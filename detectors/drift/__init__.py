"""Batch comparison of a window with its reference, one file a method; and river's detectors."""
