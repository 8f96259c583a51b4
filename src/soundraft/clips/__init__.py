"""Clips on their way into a model: opened from any source, split, decoded, featurised, batched."""
