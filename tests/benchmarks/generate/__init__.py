"""Asking a language model: our client and journal beside what others take for the same requests."""
