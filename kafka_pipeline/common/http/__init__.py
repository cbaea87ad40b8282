"""Safe downloads: which links are followed and when, how a file arrives whole, how much may lie on the disk."""

from kafka_pipeline.common.http.cache import CachePathError, Cleaned, FileCache, Reservation
from kafka_pipeline.common.http.download import Downloaded, Downloader
from kafka_pipeline.common.http.errors import DownloadError, Fault
from kafka_pipeline.common.http.guard import Credential, DownloadPolicy, Origin, Refused, check_url
from kafka_pipeline.common.http.hosts import HostGates
from kafka_pipeline.common.http.sinks import FileSink, Sink

__all__ = [
    "CachePathError",
    "Cleaned",
    "Credential",
    "DownloadError",
    "DownloadPolicy",
    "Downloaded",
    "Downloader",
    "Fault",
    "FileCache",
    "FileSink",
    "HostGates",
    "Origin",
    "Refused",
    "Reservation",
    "Sink",
    "check_url",
]
