"""Settings: who wins, what is refused, and how that is told."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kafka_pipeline.config import ConfigError, PipelineConfig, Source, load_config

HUNTER = "hunter2-invented-secret"


class Load(Protocol):
    """Loads a configuration from texts."""

    def __call__(
        self, file: str | None = None, options: Mapping[str, str] | None = None, /, **environ: str
    ) -> PipelineConfig:
        """Take the text of a file, options, and variables as keywords."""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a loader that writes the YAML text to a file first."""

    def loader(file: str | None = None, options: Mapping[str, str] | None = None, /, **environ: str) -> PipelineConfig:
        path = None
        if file is not None:
            path = tmp_path / "settings.yaml"
            path.write_text(file, encoding="utf-8")
        return load_config(path, options or {}, environ)

    return loader


@pytest.fixture
def problems(load: Load) -> Callable[..., list[str]]:
    """Return a loader for what is wrong: the lines of the error."""

    def loader(*arguments: Any, **environ: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(*arguments, **environ)
        return str(caught.value).splitlines()

    return loader


def test_loading_succeeds_with_nothing_set(load: Load) -> None:
    """A newcomer needs no settings at all, and gets those of the reference."""
    config = load()
    assert config.kafka_bootstrap_servers is None
    assert config.claimx_api_url is None
    assert (config.claimx_api_max_concurrent, config.claimx_api_timeout_seconds) == (20, 30)
    assert config.claimx_retry_delays_seconds == (300, 600, 1200, 2400)
    assert config.claimx_events_topic == "claimx.events.raw"
    assert config.claimx_dlq_topic == "claimx.dlq"
    assert config.lake_location == "data/lake"
    assert config.cache_location == Path("data/cache")
    assert "s3.amazonaws.com" not in config.allowed_download_hosts
    assert set(config.sources.values()) == {Source.DEFAULT}


def test_every_field_says_what_it_is(load: Load) -> None:
    """Each has a description that ends a sentence, and a source."""
    assert [
        name for name, field in PipelineConfig.model_fields.items() if not (field.description or "").endswith(".")
    ] == []
    assert set(load().sources) == set(PipelineConfig.model_fields)


def test_later_sources_win_and_each_value_knows_its_own(load: Load) -> None:
    """Defaults < file < environment < options, field by field."""
    config = load(
        "health_port: 1\nupload_concurrency: 1\ndownload_concurrency: 1\n",
        {"download_concurrency": "3"},
        UPLOAD_CONCURRENCY="2",
        DOWNLOAD_CONCURRENCY="2",
    )
    assert (config.health_port, config.upload_concurrency, config.download_concurrency) == (1, 2, 3)
    fields = ("log_level", "health_port", "upload_concurrency", "download_concurrency")
    assert [config.sources[field] for field in fields] == list(Source)


@given(
    given_in=st.fixed_dictionaries({}, optional={source: st.integers(0, 9) for source in list(Source)[1:]}),
    field=st.sampled_from(["health_port", "claimx_api_quick_retries", "claimx_max_file_bytes"]),
)
@settings(deadline=None, max_examples=50)
def test_the_last_source_that_speaks_decides(
    tmp_path_factory: pytest.TempPathFactory, given_in: dict[Source, int], field: str
) -> None:
    """Whichever sources name a field, the value and the source are those of the strongest one."""
    path = tmp_path_factory.mktemp("settings") / "settings.yaml"
    path.write_text(f"{field}: {given_in[Source.FILE]}\n" if Source.FILE in given_in else "", encoding="utf-8")
    environ = {field.upper(): str(given_in[Source.ENVIRONMENT])} if Source.ENVIRONMENT in given_in else {}
    options = {field: str(given_in[Source.OPTION])} if Source.OPTION in given_in else {}
    config = load_config(path, options, environ)
    winner = next((source for source in reversed(Source) if source in given_in), Source.DEFAULT)
    assert config.sources[field] is winner
    assert getattr(config, field) == given_in.get(winner, PipelineConfig.model_fields[field].default)


def test_built_by_hand_a_configuration_reads_nothing_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests and tools that build one get what they wrote."""
    monkeypatch.setenv("HEALTH_PORT", "8080")
    config = PipelineConfig(log_level="debug")
    assert (config.health_port, config.log_level) == (0, "debug")
    assert (config.sources["health_port"], config.sources["log_level"]) == (Source.DEFAULT, Source.OPTION)


def test_a_configuration_does_not_change() -> None:
    """What was checked at the start stays so."""
    with pytest.raises(ValidationError):
        PipelineConfig().health_port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "text", ["a.example.com,b.example.com", " A.example.com. , b.example.com,", '["a.example.com", "b.example.com"]']
)
def test_lists_are_comma_separated_or_json(load: Load, text: str) -> None:
    """Both ways of writing a list mean the same, and host names have one form."""
    hosts = ("a.example.com", "b.example.com")
    assert load(ALLOWED_DOWNLOAD_HOSTS=text).allowed_download_hosts == hosts
    assert load(None, {"allowed_download_hosts": text}).allowed_download_hosts == hosts
    assert load(f"allowed_download_hosts: '{text}'").allowed_download_hosts == hosts


def test_lists_in_a_file_are_yaml_lists(load: Load) -> None:
    """A file may say it as YAML does, a single value too."""
    assert load("claimx_retry_delays_seconds: [1, 2]").claimx_retry_delays_seconds == (1, 2)
    assert load("claimx_retry_delays_seconds: 5").claimx_retry_delays_seconds == (5,)
    assert load("allow_private_download_hosts:\n- '[::1]:8080'\n- LOCALHOST:080").allow_private_download_hosts == (
        "[::1]:8080",
        "localhost:80",
    )


def test_an_empty_list_is_possible_only_where_it_makes_sense(load: Load, problems: Callable[..., list[str]]) -> None:
    """No host allowed is a choice; no retry at all would send every hiccup to the dead letters."""
    assert load(ALLOWED_DOWNLOAD_HOSTS="[]").allowed_download_hosts == ()
    assert "has too few items" in problems(CLAIMX_RETRY_DELAYS_SECONDS="[]")[0]


def test_an_empty_variable_counts_as_not_set(load: Load) -> None:
    """`LAKE_URL=` in a compose file means nothing in particular."""
    config = load("health_port: 5", HEALTH_PORT="", LAKE_URL=" ")
    assert (config.health_port, config.lake_url, config.sources["lake_url"]) == (5, None, Source.DEFAULT)


def test_an_empty_option_unsets_what_can_be_unset(load: Load, problems: Callable[..., list[str]]) -> None:
    """The command line can undo what the environment says."""
    assert load(None, {"kafka_bootstrap_servers": ""}, KAFKA_BOOTSTRAP_SERVERS="a:1").kafka_bootstrap_servers is None
    assert load("claimx_api_url:\nlake_url: null").claimx_api_url is None
    assert len(problems(None, {"health_port": ""})) == 1


BAD_VALUES = [
    (
        "claimx_api_max_concurrent",
        "many",
        "'many' is not a whole number; give a whole number, at least 1, at most 1000",
    ),
    ("claimx_api_max_concurrent", "0", "'0' is too small"),
    ("claimx_api_max_concurrent", "1.5", "is not a whole number"),
    ("claimx_api_timeout_seconds", "nan", "is not a finite number"),
    ("claimx_api_timeout_seconds", "1e9", "is too large"),
    ("claimx_store_signed_links", "perhaps", "is neither true nor false; give true or false (default: false)"),
    ("log_format", "pretty", "give one of auto, console, json (default: auto)"),
    ("health_port", "70000", "is too large"),
    ("kafka_bootstrap_servers", "broker", "is not of the form host:port"),
    ("kafka_bootstrap_servers", "broker:0", "is not of the form host:port"),
    ("kafka_replication_factor", "0", "or -1 for the broker's default"),
    ("kafka_security_protocol", "TLS", "give one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
    ("kafka_group_prefix", "a b", "use letters, digits"),
    ("claimx_events_topic", "claimx/events", "is no name for a topic"),
    ("claimx_events_topic", "..", "is no name for a topic"),
    ("claimx_dlq_topic", "x" * 201, "use at most 200 characters"),
    ("claimx_retry_delays_seconds", "300,soon", "item 2 ('soon') is not a whole number"),
    ("claimx_retry_delays_seconds", "[300", "item 1"),
    ("claimx_retry_delays_seconds", "[300,]", "is not a JSON list"),
    ("allowed_download_hosts", "*.example.com", "is no host name"),
    ("allowed_download_hosts", "https://example.com", "is no host name"),
    ("allow_private_download_hosts", "localhost", "is not of the form host:port"),
    ("allow_private_download_hosts", "::1:80", "is not of the form host:port"),
    ("allowed_file_extensions", "tar.gz", "is no file extension"),
    ("claimx_api_url", "ftp://api.example.com", "is no http or https URL"),
    ("claimx_api_url", "https://", "is no http or https URL"),
    ("claimx_api_url", "https://api.example.com:port", "is no URL"),
    ("claimx_api_url", "https://api example.com", "has a blank"),
    ("claimx_api_url", "https://user@api.example.com", "has a user or password in it"),
    ("claimx_api_url", "https://api.example.com/?a=b", "has a query or fragment"),
    ("claimx_api_url", "http://api.example.com", "is plain HTTP"),
    ("lake_url", "s3://bucket/lake", "has a scheme that is not known"),
    ("lake_url", "az://container?sv=1&sig=x", "has a query or fragment"),
    ("lake_url", "abfss://workspace:key@onelake.dfs.fabric.microsoft.com/x", "has a user or password"),
    ("claimx_api_token_env", "dXNlcjpwYXNz", "never the secret itself"),
    ("data_dir", " ", "is empty; give a path"),
    ("data_dir", "~0nobody", "begins with the home folder of somebody unknown"),
    ("azure_auth", "password", "give one of auto, key, sas, service_principal"),
    ("azure_auth", "service_principal", "which needs azure_tenant_id and azure_client_id"),
    ("azure_auth", "workload_identity", "and azure_federated_token_file"),
    ("azure_storage_account", "Zm9vYmFy==", "is no storage account"),
    ("azure_storage_endpoint", "http://storage.example.com/x", "is plain HTTP"),
    ("azure_client_id", "a~secret", "is no id"),
    ("azure_authority_host", "http://127.0.0.1", "is not https"),
    ("azure_secret_file", "key", "would not be used with azure_auth auto"),
    ("lake_url", "az://container", "names no storage account"),
    ("kafka_sasl_username", "Endpoint=sb://x;SharedAccessKey=y", "for Event Hubs it is $ConnectionString"),
    ("worker_max_in_flight_records", "10", "is less than one batch"),
    ("claimx_api_min_concurrent", "21", "is more than claimx_api_max_concurrent"),
    ("shutdown_timeout_seconds", "400", "is longer than kafka_max_poll_interval_seconds"),
    ("kafka_sasl_mechanism", "PLAIN", "would not be used with kafka_security_protocol PLAINTEXT"),
    ("kafka_ssl_ca_location", "ca.pem", "would not be used with kafka_security_protocol PLAINTEXT"),
]


@pytest.mark.parametrize(("field", "value", "told"), BAD_VALUES)
def test_a_bad_value_is_told_in_one_line_with_field_place_and_remedy(
    problems: Callable[..., list[str]], field: str, value: str, told: str
) -> None:
    """From wherever it came, one readable line says what is wrong, where, and what to do."""
    [line] = problems(None, {field: value})
    assert line.startswith(f"{field} in option --set {field}: ")
    assert told in line
    assert "; " in line
    if value.strip():
        assert f"{field} in environment variable {field.upper()}: " in problems(**{field.upper(): value})[0]
    assert re.match(rf"{field} in \S+settings\.yaml line 2: ", problems(f"# settings\n{field}: {value!r}\n")[0])


def test_all_that_is_wrong_is_told_at_once(problems: Callable[..., list[str]]) -> None:
    """Nobody wants to mend one value after the other."""
    told = problems("health_prt: 1\nlog_level: loud\n", {"nothing": "1"}, CLAIMX_API_URI="x", HEALTH_PORT="x")
    assert len(told) == 5


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("- a\n- b\n", "holds no settings"),
        ("just text", "holds no settings"),
        ("a: b: c\n", "line 1: is not valid YAML"),
        ("log_level: info\n\thealth_port: 1\n", "is not valid YAML"),
        ("log_level: !!python/object:os.system x\n", "is not valid YAML"),
        ("log_level: *nothing\n", "is not valid YAML"),
        ("log_level: info\nlog_level: debug\n", "line 2: was given before; keep this or"),
        ("health_prt: 1", "line 1: is not a setting; did you mean health_port?"),
        ("something_else: 1", "see `kafka-pipeline config show`"),
        ("1: 2", "is not a setting"),
        ("? [a]\n: b", "is not a setting"),
        ("health_port: true", "true is not what belongs here; give a whole number"),
        ("health_port: [1]", "is not a whole number"),
        ("log_level:\n  deep: 1", "is not one of the known words"),
        ("kafka_group_prefix: 5", "5 is not text"),
        ("health_port: 2026-03-02", "is not a whole number"),
        ("data_dir: 5", "is not a path"),
    ],
)
def test_a_bad_file_is_told_in_one_line(problems: Callable[..., list[str]], file: str, told: str) -> None:
    """Whatever is in the file, its place and the fault are named."""
    [line] = problems(file)
    assert told in line
    assert "settings.yaml" in line


def test_an_empty_file_is_a_file_without_settings(load: Load) -> None:
    """A file of comments is a good start."""
    assert load("# nothing yet\n").sources["health_port"] is Source.DEFAULT
    assert load("").sources["health_port"] is Source.DEFAULT


def test_a_file_that_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    """Missing, a folder, not text, far too large: each is named."""
    binary, large = tmp_path / "binary.yaml", tmp_path / "large.yaml"
    binary.write_bytes(b"log_level: \xff\xfe")
    large.write_bytes(b"#" * 1_100_000)
    for path, told in [
        (tmp_path / "missing.yaml", "cannot be read (No such file or directory)"),
        (tmp_path, "cannot be read (Is a directory)"),
        (binary, "is not UTF-8 text"),
        (large, "is larger than"),
    ]:
        with pytest.raises(ConfigError, match=r"^[^\n]+$") as caught:
            load_config(path, {}, {})
        assert told in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("CLAIMX_API_URI", "CLAIMX_API_URL"),
        ("claimx_api_url", "CLAIMX_API_URL"),
        ("CLAIMX_API_TIMEOUT_SECOND", "CLAIMX_API_TIMEOUT_SECONDS"),
        ("CLAIMX_RETRY_DELAY_SECONDS", "CLAIMX_RETRY_DELAYS_SECONDS"),
        ("KAFKA_BOOTSTRAP_SERVER", "KAFKA_BOOTSTRAP_SERVERS"),
    ],
)
def test_a_variable_that_is_nearly_right_is_told_with_what_was_meant(
    problems: Callable[..., list[str]], variable: str, meant: str
) -> None:
    """A typing error would otherwise be a setting that is silently not set."""
    [line] = problems(**{variable: HUNTER})
    assert line == f"{variable} in the environment: is not a setting; did you mean {meant}?"


def test_variables_of_others_are_let_be(load: Load) -> None:
    """Kafka's own variables, our secrets and everything without our prefix mean nothing here."""
    names = (
        "KAFKA_HOME KAFKA_OPTS KAFKA_HEAP_OPTS KAFKA_JVM_PERFORMANCE_OPTS KAFKA_LOG4J_OPTS KAFKA_JMX_PORT "
        "KAFKA_VERSION KAFKA_LOG_DIRS KAFKA_BROKER_ID KAFKA_NODE_ID KAFKA_LISTENERS "
        "KAFKA_ADVERTISED_LISTENERS KAFKA_CLUSTER_ID KAFKA_PROCESS_ROLES KAFKA_ZOOKEEPER_CONNECT "
        "KAFKA_SASL_PASSWORD CLAIMX_API_TOKEN CLAIMX_API_TOKEN_FILE HEALTH_PRT PATH"
    )
    assert load(**dict.fromkeys(names.split(), "x")).sources["health_port"] is Source.DEFAULT
    named = load(CLAIMX_API_TOKEN_ENV="CLAIMX_API_URL_", CLAIMX_API_URL_="x")
    assert named.claimx_api_token_env == "CLAIMX_API_URL_"


def test_a_secret_in_a_file_is_sent_back_to_the_environment_without_being_quoted(
    problems: Callable[..., list[str]],
) -> None:
    """Who writes the token into the file learns where it belongs."""
    [line] = problems(f"claimx_api_token: {HUNTER}\n")
    assert "put its variable's name into claimx_api_token_env" in line
    assert HUNTER not in line


SECRETS_IN_WRONG_PLACES = [
    ("claimx_api_token_env", HUNTER),
    ("kafka_sasl_password_env", HUNTER),
    ("claimx_api_url", f"https://user:{HUNTER}@api.example.com"),
    ("claimx_api_url", f"http://api.example.com/{HUNTER}"),
    ("lake_url", f"az://container?sig={HUNTER}"),
    ("kafka_sasl_username", f"SharedAccessKey={HUNTER}"),
    ("allowed_download_hosts", f"https://files.example.com/?X-Amz-Signature={HUNTER}"),
    ("kafka_bootstrap_servers", f"https://user:{HUNTER}@broker.example.com"),
    ("log_level", f"token={HUNTER}"),
]


@pytest.mark.parametrize(("field", "value"), SECRETS_IN_WRONG_PLACES)
def test_no_error_quotes_what_may_be_a_secret(
    problems: Callable[..., list[str]], load: Load, field: str, value: str
) -> None:
    """A credential in the wrong field is refused and not repeated, neither in the text nor in what led to it."""
    for arguments, environ in [
        ((None, {field: value}), {}),
        ((f"{field}: '{value}'",), {}),
        ((), {field.upper(): value}),
    ]:
        assert HUNTER[:7] not in "\n".join(problems(*arguments, **environ))
    with pytest.raises(ConfigError) as caught:
        load(None, {field: value})
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@given(value=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=80))
@example(value="[")
@example(value="10")
@example(value="https://[::1")
@example(value="\u2028")
@settings(deadline=None, max_examples=150)
def test_no_text_whatever_breaks_the_reading(value: str) -> None:
    """Every field answers any text with a value or with lines that begin with a field; nothing else comes out."""
    for field in PipelineConfig.model_fields:
        try:
            load_config(None, {field: value}, {})
        except ConfigError as error:
            fields = tuple(
                PipelineConfig.model_fields
            )  # a value can be at odds with another field, which is then named
            assert [line for line in str(error).split("\n") if not line.startswith(fields)] == []  # noqa: PT017 - some load


def test_the_api_url_has_one_form(load: Load) -> None:
    """No slash at the end [API-1], host in lower case, port kept."""
    for given_as, kept in [
        ("https://API.example.com/service/cxedirest/", "https://api.example.com/service/cxedirest"),
        ("https://api.example.com:8443", "https://api.example.com:8443"),
        ("http://127.0.0.1:8080/x/", "http://127.0.0.1:8080/x"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ]:
        assert load(CLAIMX_API_URL=given_as).claimx_api_url == kept


def test_plain_http_to_another_machine_needs_a_permit(load: Load) -> None:
    """The host and port must be named in the setting for tests; port 80 is meant where none is given."""
    environ = {"CLAIMX_API_URL": "http://api.example.com/x", "ALLOW_PRIVATE_DOWNLOAD_HOSTS": "api.example.com:80"}
    assert load(**environ).claimx_api_url == "http://api.example.com/x"
    with pytest.raises(ConfigError, match="plain HTTP"):
        load(**environ | {"ALLOW_PRIVATE_DOWNLOAD_HOSTS": "api.example.com:8080"})


def test_lake_and_cache_have_places_of_their_own_or_below_data(load: Load) -> None:
    """What is set counts; else both are folders of `data_dir`."""
    assert load(DATA_DIR="/srv/x").lake_location == "/srv/x/lake"
    assert load(DATA_DIR="/srv/x").cache_location == Path("/srv/x/cache")
    assert load(DATA_DIR="~/x").data_dir == Path.home() / "x"
    config = load(LAKE_URL="abfss://ws@onelake.dfs.fabric.microsoft.com/a.Lakehouse/", CACHE_DIR="/cache")
    assert config.lake_location == "abfss://ws@onelake.dfs.fabric.microsoft.com/a.Lakehouse"
    assert config.cache_location == Path("/cache")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"claimx_events_topic": "claimx.downloads.pending"}, "is the same topic as"),
        ({"claimx_events_topic": "claimx_downloads_pending"}, "is the same topic as"),
        ({"claimx_dlq_topic": "claimx.downloads.retry"}, "is the same topic as claimx_downloads_retry_topic_prefix"),
        ({"claimx_events_topic": "claimx.dlq.events"}, "is a retry or dead-letter topic"),
        ({"claimx_events_topic": "claimx.enrichment.retry.5m"}, "is a retry or dead-letter topic"),
        ({"claimx_events_topic": "claimx.downloads.retry.90s-2"}, "is a retry or dead-letter topic"),
    ],
)
def test_two_topics_never_share_a_name(problems: Callable[..., list[str]], options: dict[str, str], told: str) -> None:
    """Not even where Kafka alone takes two names for one, or where one is made from a prefix [TOP-1]."""
    [line] = problems(None, options)
    assert told in line


def test_kafka_credentials_are_complete_or_refused(load: Load, problems: Callable[..., list[str]]) -> None:
    """Half a credential is found at the start, not by the broker."""
    assert len(problems(KAFKA_SECURITY_PROTOCOL="SASL_SSL")) == 2
    assert len(problems(KAFKA_SECURITY_PROTOCOL="SSL", KAFKA_SSL_KEY_LOCATION="key.pem")) == 1
    config = load(
        KAFKA_SECURITY_PROTOCOL="sasl_ssl", KAFKA_SASL_MECHANISM="plain", KAFKA_SASL_USERNAME="$ConnectionString"
    )
    assert config.kafka_client_options({"KAFKA_SASL_PASSWORD": HUNTER}) == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "$ConnectionString",
        "sasl.password": HUNTER,
    }
    with pytest.raises(ConfigError, match="KAFKA_SASL_PASSWORD, which is not set"):
        config.kafka_client_options({})
    assert load().kafka_client_options({}) == {"security.protocol": "PLAINTEXT"}


def test_the_token_is_read_from_the_variable_that_was_named(load: Load) -> None:
    """It is in no field, no repr and no dump [SEC-12]."""
    environ = {"MY_TOKEN": f" {HUNTER}\n", "CLAIMX_API_TOKEN_ENV": "MY_TOKEN"}
    config = load(**environ)
    assert config.claimx_api_token(environ) == HUNTER
    assert HUNTER not in repr(config) + config.model_dump_json()


@pytest.mark.parametrize("token", [None, "", "  ", f"{HUNTER}\r\nX-Other: 1"])
def test_a_missing_or_broken_token_is_told_without_it(load: Load, token: str | None) -> None:
    """The line names the variable, which is what has to be set."""
    with pytest.raises(ConfigError, match=r"^claimx_api_token_env: .*CLAIMX_API_TOKEN") as caught:
        load().claimx_api_token({} if token is None else {"CLAIMX_API_TOKEN": token})
    assert HUNTER not in str(caught.value)


def test_the_api_url_is_asked_for_only_where_it_is_needed(load: Load) -> None:
    """Loading succeeds without it; who calls the API says that it is missing."""
    with pytest.raises(ConfigError, match="claimx_api_url: is needed here and not set; set CLAIMX_API_URL"):
        load().require_claimx_api_url()
    assert load(CLAIMX_API_URL="https://api.example.com/x").require_claimx_api_url() == "https://api.example.com/x"
