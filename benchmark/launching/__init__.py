"""Jobs, here or on a cluster: what is to do, who does it, what became of it."""
