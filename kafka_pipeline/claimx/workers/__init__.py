"""The five workers. They share one loop and differ in what they do with a batch."""
