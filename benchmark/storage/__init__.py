"""The results on disk: who may write, what is there."""
