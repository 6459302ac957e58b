import pytest

from app.settings import Settings, SettingsInvalid, is_loopback, load_settings

EVERYWHERE = "0.0.0.0"  # noqa: S104 - only named here
TOKEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ANDON_{name.upper()}", raising=False)


def test_defaults_need_nothing():
    settings = load_settings()
    assert (settings.host, settings.port, settings.database_url) == ("127.0.0.1", 8000, None)


def test_command_line_beats_environment_beats_file(monkeypatch, tmp_path):
    (tmp_path / "andon.toml").write_text('port = 1\nlog_format = "json"\ndata_dir = "x"\n')
    monkeypatch.setenv("ANDON_PORT", "2")
    monkeypatch.setenv("ANDON_LOG_FORMAT", "console")
    settings = load_settings(port=3, host=None)
    assert (settings.port, settings.log_format, str(settings.data_dir)) == (3, "console", "x")


def test_secrets_come_from_files_and_never_show(monkeypatch, tmp_path):
    secret = tmp_path / "token"
    secret.write_text(f"{TOKEN}\n")
    monkeypatch.setenv("ANDON_ACCESS_TOKEN_FILE", str(secret))
    monkeypatch.setenv("ANDON_INGEST_KEYS", f"mes:{TOKEN}, press:{TOKEN}2")
    monkeypatch.setenv("ANDON_DATABASE_URL", "postgresql://me:hidden-password@db/andon")
    settings = load_settings(host=EVERYWHERE)
    assert settings.access_token.get_secret_value() == TOKEN
    assert settings.keys_by_name == {"mes": TOKEN, "press": f"{TOKEN}2"}
    assert TOKEN not in repr(settings)
    assert "hidden-password" not in repr(settings)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"ANDON_HOST": EVERYWHERE}, "ANDON_ACCESS_TOKEN_FILE"),
        ({"ANDON_HOST": "::"}, "ANDON_ACCESS_TOKEN"),
        ({"ANDON_PORTT": "1"}, 'did you mean "ANDON_PORT"?'),
        ({"ANDON_ACCES_TOKEN_FILE": "x"}, 'did you mean "ANDON_ACCESS_TOKEN_FILE"?'),
        ({"ANDON_CONFIGURATION": "x"}, "ANDON_CONFIGURATION is no setting"),
        ({"ANDON_PORT": "eighty"}, "port: input should be a valid integer"),
        ({"ANDON_SESSION_AGE": "7"}, "session_age"),
        ({"ANDON_ACCESS_TOKEN": "short"}, "at least 16 characters"),
        ({"ANDON_ACCESS_TOKEN": "ein-schlüssel-mit-ü"}, "ASCII"),
        ({"ANDON_INGEST_KEYS": "nameless"}, "name:key"),
        ({"ANDON_INGEST_KEYS": f"mes:{TOKEN},mes:{TOKEN}2"}, 'two keys are called "mes"'),
        ({"ANDON_DATABASE_URL": "mysql://x"}, "postgresql://"),
        ({"ANDON_DATABASE_URL": "postgresql://u:p@host:5x/a"}, "cannot be read"),
        ({"ANDON_DATABASE_URL": "postgresql://u:p@[::1/a"}, "cannot be read"),
        ({"ANDON_DATABASE_URL": "postgresql://u:hidden/pass@host/a"}, "/ as %2F"),
        ({"ANDON_ACCESS_TOKEN_FILE": "/does/not/exist"}, "cannot be read"),
        ({"ANDON_TLS_CERT": "x.pem"}, "tls_key"),
        ({"ANDON_CONFIG": "nowhere.toml"}, "nowhere.toml does not exist"),
    ],
)
def test_a_wrong_setting_is_one_clear_sentence(monkeypatch, environment, told):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid) as error:
        load_settings()
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('hots = "127.0.0.1"', 'unknown key "hots"; did you mean "host"?'),
        ("port == 3", "cannot be read"),
        ("[more]\na = 1", 'unknown key "more"'),
    ],
)
def test_a_wrong_file_is_one_clear_sentence(tmp_path, text, told):
    (tmp_path / "andon.toml").write_text(text)
    with pytest.raises(SettingsInvalid) as error:
        load_settings()
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("secret", "told"), [("access_token", "at least 16 characters"), ("database_url", "postgresql")]
)
def test_an_empty_secret_is_refused_not_taken_for_none(monkeypatch, tmp_path, secret, told):
    """An empty token file once opened every door: "given" and "not empty" are two questions."""
    (tmp_path / "secret").write_text("\n")
    monkeypatch.setenv(f"ANDON_{secret.upper()}_FILE", str(tmp_path / "secret"))
    with pytest.raises(SettingsInvalid, match=told):
        load_settings(host=EVERYWHERE)
    monkeypatch.delenv(f"ANDON_{secret.upper()}_FILE")
    (tmp_path / "andon.toml").write_text(f'{secret} = ""\n')
    with pytest.raises(SettingsInvalid, match=told):
        load_settings(host=EVERYWHERE)


def test_a_name_near_to_none_has_no_suggestion(monkeypatch):
    monkeypatch.setenv("ANDON_FOO", "1")
    with pytest.raises(SettingsInvalid) as error:
        load_settings()
    assert str(error.value) == "settings: ANDON_FOO is no setting"


def test_a_configuration_that_is_no_file(monkeypatch, tmp_path):
    (tmp_path / "andon.toml").mkdir()
    with pytest.raises(SettingsInvalid, match=r"andon\.toml is a directory"):
        load_settings()
    (tmp_path / "andon.toml").rmdir()
    (tmp_path / "other.toml").write_bytes(b"host = '\xff'")
    monkeypatch.setenv("ANDON_CONFIG", "other.toml")
    with pytest.raises(SettingsInvalid, match=r"other\.toml is not UTF-8"):
        load_settings()


def test_a_secret_value_is_not_in_the_sentence_about_it(monkeypatch):
    monkeypatch.setenv("ANDON_ACCESS_TOKEN", "my-secret")
    with pytest.raises(SettingsInvalid) as error:
        load_settings()
    assert "my-secret" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres@/postgres?host=/a/b",
        "postgresql://u:p%2Fq@db:5432/andon",
        "postgresql://u:p@one:5432,two:5433/andon?target_session_attrs=read-write",
        "postgres://[::1]:5432/andon",
        "postgresql://%2Fvar%2Frun/andon",
        "postgresql://",
    ],
)
def test_every_form_of_address_that_the_driver_reads(monkeypatch, url):
    monkeypatch.setenv("ANDON_DATABASE_URL", url)
    assert load_settings().database_url.get_secret_value() == url


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        (EVERYWHERE, False),
        ("::", False),
        ("andon.plant", False),
        ("", False),
    ],
)
def test_loopback(host, loopback):
    assert is_loopback(host) is loopback
