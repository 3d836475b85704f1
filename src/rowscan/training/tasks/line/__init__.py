"""The task `line`: one line of writing to its text, by CTC."""
