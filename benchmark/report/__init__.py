"""A suite as one page."""
