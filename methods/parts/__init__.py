"""Parts of methods: modules, losses and random fields that a method file builds on."""
