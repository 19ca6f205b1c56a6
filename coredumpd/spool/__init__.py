"""The spool on the node's own disk: entries appear whole or not at all."""
