"""ClaimX events from Kafka become rows and files in a Delta lakehouse: nothing lost, nothing doubled."""
