"""Seams: where custody meets other people's code. A seam is handed what to call and knows nothing above it."""
