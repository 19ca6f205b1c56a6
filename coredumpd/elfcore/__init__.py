"""The start of an ELF core: headers, segments, notes. Pure; no byte of it is trusted."""
