"""Files and addresses, atomic writes, and the one picture decoder."""
