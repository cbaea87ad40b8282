"""The demo: the whole pipeline on one machine, proved against a ground truth."""
