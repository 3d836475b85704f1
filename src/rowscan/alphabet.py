"""The characters that a line model knows, in the order of its classes.

Class 0 of a line model is CTC's blank; class i + 1 is character i of the model's alphabet. A model
file names its alphabet; a file without one, from version 0.1, reads the ten digits.
"""

DIGITS = "0123456789"
SIGNS = ".,-+/:()%$€£¥=×"
"""What people write between, before and after the digits of a number."""
SPACE = " "
"""A gap between two groups of characters, as in `07700 900 123` and `7 1/2`."""
OTHER = "□"
"""Any other character: a letter, a symbol, a digit that is struck out."""
ALPHABET = DIGITS + SIGNS + SPACE + OTHER
"""What `rowscan train line` teaches: 27 characters."""

ALPHABETS = {
    "digits": DIGITS,
    "amount": DIGITS + ".,-+$€£¥ ",
    "date": DIGITS + "./- ",
    "time": DIGITS + ".:",
    "phone": DIGITS + "+()-/. ",
}
"""Alphabets by name, for what may be read."""
