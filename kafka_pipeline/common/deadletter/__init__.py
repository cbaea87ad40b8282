"""Dead letters: records that failed for good, kept whole and with the reason."""

from kafka_pipeline.common.deadletter.record import DeadLetter, DeadLetterRouter, dead_letter

__all__ = ["DeadLetter", "DeadLetterRouter", "dead_letter"]
