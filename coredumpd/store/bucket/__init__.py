"""A store in an object store: S3, GCS, Azure."""
