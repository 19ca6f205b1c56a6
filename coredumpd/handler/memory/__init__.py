"""A core read from the process's memory instead of from the kernel's stream.

`source` is what a capture copies from: the headers come from the stream and say which memory the
core holds (elfcore/), `mappings` and `pages` say where there are holes, `plan` cuts the rest into
chunks in the order of their value, and `access` reads them.
"""
