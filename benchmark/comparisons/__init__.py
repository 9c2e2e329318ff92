"""Methods against each other: intervals, ranks, and what another convention would say."""
