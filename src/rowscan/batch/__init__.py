"""Reading many pictures: one machine with worker processes, or a Ray cluster."""
