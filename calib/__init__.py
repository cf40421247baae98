"""What is fitted on the user's own photos. Nothing has landed here yet."""
