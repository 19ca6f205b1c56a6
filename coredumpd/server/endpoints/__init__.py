"""CoredumpEndpoint: the object through which a tenant names a pod."""
