"""Jobs and who runs them: processes of this machine, or a cluster's scheduler."""
