"""Which dumps are removed from the store, when, and who learns of it."""
