"""The .tar.gz around stored gzip members: exact length, same bytes every time.

`member` makes small gzip members, `ustar` makes tar headers, `plan` lays an archive out, `stream`
reads it from any byte. Nothing here compresses and nothing is ever written to a disk.
"""
