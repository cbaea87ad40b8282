"""How settings are read, checked and explained. Private to `kafka_pipeline.config`, which says what they are."""
