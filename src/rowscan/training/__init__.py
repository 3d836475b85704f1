"""Training: everything left of the model file. The light path never imports from here."""
