"""Evaluation: test metrics with intervals, error tables, plots, speed."""
