"""What any pipeline from Kafka into a lake needs. Nothing in here knows of ClaimX."""
