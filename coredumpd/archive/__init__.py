"""The .tar.gz around stored gzip members: exact length, same bytes every time."""
