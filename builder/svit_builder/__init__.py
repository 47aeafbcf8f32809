"""The making side: what builds the Hub dataset `svit` stands here; the loader never imports it."""
