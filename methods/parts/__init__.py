"""Parts of methods: modules, losses and random fields used by the method files."""
