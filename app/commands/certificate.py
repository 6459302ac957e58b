"""The certificate that HTTPS is served with, tried before anything is started for it."""

import ssl

from app.commands.failure import Failed
from app.settings import Settings


def certified(settings: Settings) -> None:
    """Try the certificate and its key, where there are any.

    Raises:
        Failed: they cannot be used; the sentence says why.
    """
    chain, key = settings.tls_cert, settings.tls_key
    if chain is None or key is None:
        return
    for name, path in (("tls_cert", chain), ("tls_key", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise Failed(f"{name} {path} cannot be read: {error.strerror}") from error
    try:
        # an empty password, for otherwise OpenSSL would ask for one on the terminal
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key, password="")
    except ssl.SSLError as error:
        raise Failed(
            f"tls_cert {chain} and tls_key {key} cannot be used: {error.reason or 'no PEM'}; give "
            "a certificate chain and its private key as PEM, the key without a password"
        ) from error
