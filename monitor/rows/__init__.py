"""Rows as the pipeline reads them, wherever they are kept."""
