"""SVIT in one call: its JSON joined with its photos, map-style and streaming."""
