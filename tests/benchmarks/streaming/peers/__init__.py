"""What is measured, a file a library: each can run in an environment that has this library and nothing of ours."""
