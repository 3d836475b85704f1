"""The task `digit`: one image of a digit to ten probabilities."""
