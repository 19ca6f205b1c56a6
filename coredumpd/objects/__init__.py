"""CoredumpEndpoint objects with revisions: one small interface, engines behind it."""
