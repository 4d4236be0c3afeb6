"""Rows and labels on their way in: batches, sampling, the one writer, stored rows read back."""
