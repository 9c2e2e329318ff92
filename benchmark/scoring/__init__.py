"""From label maps to measures."""
