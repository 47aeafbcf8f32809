"""What is measured, a file a client: each can run in an environment that has this client and nothing of ours."""
