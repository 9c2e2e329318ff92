"""What a suite asks for against what is stored: matched, read once, scored."""
