"""The ways of a file from its link into the lake: by way of the cache, or straight."""
