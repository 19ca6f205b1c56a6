"""The node itself: the installed handler, core_pattern, the capture socket."""
