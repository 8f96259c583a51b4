"""Training: the one supervised loop, the selection of samples, and the RAFT cycle."""
