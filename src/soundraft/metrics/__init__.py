"""What is measured: pure functions from references and hypotheses to counts and rates."""
