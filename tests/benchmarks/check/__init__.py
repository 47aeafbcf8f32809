"""What `svit check` and the parser of replies cost."""
