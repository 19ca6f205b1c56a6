"""From the spool to the store: attribute, seal, fold crash loops, commit, report."""
