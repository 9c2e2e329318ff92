"""From stored counts to a printed table."""
