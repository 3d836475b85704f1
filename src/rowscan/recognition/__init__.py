"""From ink to characters: model files, CTC decoding, test-time augmentation, selection of lines."""
