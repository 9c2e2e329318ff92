"""Suites: the runs that a table asks for, and the stored ones that answer."""
