"""The command line: what can be asked of the pipeline, and how it answers."""
