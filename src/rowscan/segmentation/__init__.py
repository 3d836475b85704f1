"""From the pixels of a photo to the ink of its text lines, or of its one digit."""
