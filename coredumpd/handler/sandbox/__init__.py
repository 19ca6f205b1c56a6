"""The rights that a capture gives up before it compresses hostile bytes."""
