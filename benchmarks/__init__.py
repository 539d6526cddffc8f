"""The benchmark: ours beside the floor and the peers, on one database, in one run."""
