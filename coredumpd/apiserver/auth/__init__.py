"""Authentication and authorization of callers, and the CAs that certify them."""
