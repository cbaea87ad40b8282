"""What the pipeline tells about itself: logs, metrics, and the redaction that both go through."""

from kafka_pipeline.common.observability.catalogue import bounded, counter, gauge, histogram
from kafka_pipeline.common.observability.logging import configure_logging
from kafka_pipeline.common.observability.redaction import redact, safe_error_text

__all__ = ["bounded", "configure_logging", "counter", "gauge", "histogram", "redact", "safe_error_text"]
