"""What building costs beside others that write the same rows, and what is stored and moved of what was built."""
