"""The task `page`: pictures of pages to ink and bands of lines."""
