"""Secrets come from the environment or from a file that it names, and are never quoted [SEC-12]."""

from __future__ import annotations

from pathlib import Path

import pytest

from kafka_pipeline.config import ConfigError, PipelineConfig, load_config

SECRET = "aHVudGVyMjppbnZlbnRlZA=="


def token(**environ: str) -> str:
    """Return the token that these variables lead to, through a whole configuration."""
    return load_config(None, {}, environ).claimx_api_token(environ)


def wrong(**environ: str) -> str:
    """Return what is said about these variables, which nobody can use."""
    with pytest.raises(ConfigError, match=r"^claimx_api_token_env: [^\n]+$") as caught:
        token(**environ)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_a_secret_may_lie_in_a_file_that_a_variable_names(tmp_path: Path) -> None:
    """As container platforms mount them; what surrounds it does not count."""
    file = tmp_path / "token"
    for content in (SECRET, f"{SECRET}\n", f"\ufeff {SECRET}\r\n"):
        file.write_bytes(content.encode())
        assert token(CLAIMX_API_TOKEN_FILE=str(file)) == SECRET
    assert token(CLAIMX_API_TOKEN_ENV="OTHER", OTHER_FILE=str(file)) == SECRET
    config = PipelineConfig()
    assert config.kafka_sasl_password({"KAFKA_SASL_PASSWORD_FILE": str(file)}) == SECRET
    assert config.azure_secret("azure_client_secret", {"AZURE_CLIENT_SECRET_FILE": str(file)}) == SECRET


def test_the_file_is_read_anew_each_time(tmp_path: Path) -> None:
    """A worker that starts again finds the new secret, without a new configuration."""
    file = tmp_path / "token"
    config = load_config(None, {}, {"CLAIMX_API_TOKEN_FILE": str(file)})
    for secret in ("first", "second"):
        file.write_text(secret)
        assert config.claimx_api_token({"CLAIMX_API_TOKEN_FILE": str(file)}) == secret


def test_a_secret_that_is_not_there_or_none_is_told_without_a_word_of_it(tmp_path: Path) -> None:
    """Missing, twice, not a file, empty, no text, of two lines, far too large: each with its remedy."""
    file = tmp_path / "token"
    assert "CLAIMX_API_TOKEN, which is not set; put the secret there" in wrong()
    assert "is set beside CLAIMX_API_TOKEN_FILE" in wrong(CLAIMX_API_TOKEN=SECRET, CLAIMX_API_TOKEN_FILE=str(file))
    assert "cannot be read (No such file or directory)" in wrong(CLAIMX_API_TOKEN_FILE=str(file))
    assert "cannot be read (Is a directory)" in wrong(CLAIMX_API_TOKEN_FILE=str(tmp_path))
    assert "cannot be read (no path)" in wrong(CLAIMX_API_TOKEN_FILE=f"{SECRET}\0")
    assert "cannot be read" in wrong(CLAIMX_API_TOKEN_FILE=SECRET)
    for content, told in (
        (b" \n", "is empty"),
        (b"\xff" + SECRET.encode(), "is not UTF-8 text"),
        (f"{SECRET}\n{SECRET}".encode(), "line break"),
        (SECRET.encode() * 4_000, "is larger than 65536 bytes"),
    ):
        file.write_bytes(content)
        assert told in wrong(CLAIMX_API_TOKEN_FILE=str(file))


def test_no_setting_takes_a_secret_itself() -> None:
    """Fields that are about secrets name a variable or a file: nothing secret is in a configuration or its dump."""
    words = ("token", "password", "secret", "sas", "storage_key")
    about = {name for name in PipelineConfig.model_fields if any(word in name for word in words)}
    own = {name for name in about if name.endswith(("_env", "_file"))}
    assert about - own == {"kafka_sasl_mechanism", "kafka_sasl_username"}
