"""The dataset: how it is split, built and read."""
