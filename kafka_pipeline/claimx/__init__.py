"""The ClaimX pipeline: schemas, API, handlers, writers and the five workers."""
