"""Labelled data: single digits, pictures of numbers, and where named data sets come from."""
