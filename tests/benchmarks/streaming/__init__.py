"""Streaming photos: `stream` and `load_dataset` beside what others offer, and beside what the machine can do."""
