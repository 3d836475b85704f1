"""Composed training data: augmented digits, drawn characters, lines of writing."""
