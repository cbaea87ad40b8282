"""The checker of a storm sees what is wrong beside rows and files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake

from chaos.verdict import leaks, unpaired


def test_a_file_without_its_row_and_a_row_without_its_file_are_found(tmp_path: Path) -> None:
    """Each is told once; a file that failed for good needs none, and a pair is no news."""
    rows = {
        "media_id": ["1", "2", "3"],
        "blob_path": ["claimx/7/1/a.jpg", "claimx/7/2/b.jpg", "claimx/7/3/c.jpg"],
        "status": ["completed", "completed", "failed_permanent"],
    }
    write_deltalake(str(tmp_path / "Tables" / "claimx_attachments"), pa.table(rows))
    for path in ("claimx/7/1/a.jpg", "claimx/7/9/x.jpg"):
        file = tmp_path / "Files" / path
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x")
    assert unpaired(tmp_path) == ["claimx/7/9: a file without a row", "claimx/7/2: a row without its file"]


def test_a_log_that_tells_a_secret_is_named(tmp_path: Path) -> None:
    """A log is searched as bytes; one that was never written tells nothing."""
    clean, leaky = tmp_path / "clean.log", tmp_path / "leaky.log"
    clean.write_bytes(b"all is well\n")
    leaky.write_bytes(b"GET /x?X-Amz-Signature=invented\n")
    assert leaks([clean, leaky, tmp_path / "none.log"], [b"X-Amz-Signature", b"token"]) == ["leaky.log"]
