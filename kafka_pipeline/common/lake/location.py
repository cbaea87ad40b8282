"""Where the lake is: tables under `Tables/`, files under `Files/`, on OneLake, Azurite or in a local folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from kafka_pipeline.common.azure.credential import CurrentCredential
from kafka_pipeline.common.failures import Category, PipelineError

RETRIES = 3
"""Retries of one request inside the library, within RETRY_SECONDS. More would only hide an outage from readiness."""

RETRY_SECONDS = 20

_DELTA_RETRIES: Mapping[str, str] = MappingProxyType(
    {"max_retries": str(RETRIES), "retry_timeout": f"{RETRY_SECONDS}s"}
)
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeLocation:
    """A lake's root and the options to reach it. Build it with `LakeLocation.parse`.

    `options` are the store's (account, endpoint: names as object_store knows them, equal for Delta and files);
    `client` those of the HTTP client (`allow_http`, `timeout`, `connect_timeout`); `credential` opens the store, and is
    asked anew whenever it is needed. None of them is shown by repr (I10).
    """

    root: str
    """A URL without trailing slash, or the absolute path of a local folder."""
    options: Mapping[str, str] = field(default_factory=lambda: _NOTHING, repr=False)
    client: Mapping[str, str] = field(default_factory=lambda: _NOTHING, repr=False)
    credential: CurrentCredential | None = field(default=None, repr=False)

    @classmethod
    def parse(
        cls,
        where: str | Path,
        *,
        options: Mapping[str, str] = _NOTHING,
        client: Mapping[str, str] = _NOTHING,
        credential: CurrentCredential | None = None,
    ) -> LakeLocation:
        """Return the location that a `lake_url` setting or a path names. Creates nothing.

        Raises PipelineError (permanent) for a URL with a query or user info, which would be a credential in the wrong
        place, and for an unknown scheme.
        """
        text = str(where)
        if "://" not in text:
            return cls(root=str(Path(text).expanduser().absolute()))
        parts = urlsplit(text)
        if parts.scheme == "file":
            return cls(root=str(Path(parts.path).absolute()))
        if parts.query or parts.fragment or parts.password:
            raise PipelineError("the lake's URL must hold no query and no password: use settings", Category.PERMANENT)
        if parts.scheme not in ("az", "azure", "adl", "abfs", "abfss", "https"):
            raise PipelineError(f"a lake cannot be at {parts.scheme}://: use abfss, az or a folder", Category.PERMANENT)
        return cls(root=text.rstrip("/"), options=options, client=client, credential=credential)

    @property
    def is_local(self) -> bool:
        """Whether the lake is a folder of this machine."""
        return "://" not in self.root

    @property
    def is_onelake(self) -> bool:
        """Whether the lake is on Microsoft OneLake, which knows tokens and SAS but no account keys."""
        return (urlsplit(self.root).hostname or "").endswith(".fabric.microsoft.com")

    @property
    def files(self) -> str:
        """The root of the files, a URL or a path."""
        return f"{self.root}/Files"

    def table_uri(self, name: str) -> str:
        """Return where the table is, a URL or a path."""
        return f"{self.root}/Tables/{name}"

    def delta_options(self) -> dict[str, str]:
        """Return the options as deltalake takes them: store, client, retries and the credential of this moment.

        deltalake cannot ask for another credential by itself: whoever keeps a table open compares what this returns
        with what the table was opened with, and opens it anew. May wait for a credential, and raises PipelineError if
        there is none.
        """
        if self.is_local:
            return {}
        options = {**_DELTA_RETRIES, **self.options, **self.client}
        if self.credential is not None:
            held = self.credential.current()
            options[held.form.value] = held.secret
        return options

    def refused(self) -> None:
        """Be told that the store refused the credential, so that it is renewed before its time."""
        if self.credential is not None:
            self.credential.refused()

    def prepare(self) -> None:
        """Create the folders of a local lake. Blocks. Raises PipelineError with a remedy if that cannot be done."""
        if not self.is_local:
            return
        try:
            for part in ("Tables", "Files"):
                (Path(self.root) / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self, os.strerror(error.errno or 0)) from None


def unwritable(location: LakeLocation, why: str, category: Category = Category.TRANSIENT) -> PipelineError:
    """Return the error that names the place, the reason and the remedy."""
    if location.is_local:
        remedy = "set LAKE_URL to a folder that this user may write, or free the disk"
    elif category is Category.AUTH:
        remedy = "check the credential and its role on the workspace (Contributor, or Storage Blob Data Contributor)"
    else:
        remedy = "check LAKE_URL, the container and the network"
    return PipelineError(f"the lake at {location.root} cannot be written ({why}): {remedy}", category)
