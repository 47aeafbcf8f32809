"""The making side: what builds the Hub dataset `svit`, first of all its Parquet files; the loader never imports it."""
