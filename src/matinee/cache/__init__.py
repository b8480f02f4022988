"""What is kept of answers, so that the next one is quicker."""
