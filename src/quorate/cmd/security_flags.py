"""The flags of `etcd` that encrypt connections and say who may make them."""

from __future__ import annotations

from quorate.embed import Config
from quorate.pkg.goflag import FlagSet, Parser, parse_bool, parse_list, parse_string, parse_uint

_TEXT: tuple[tuple[str, Parser, str], ...] = (
    ("cert-file", parse_string, "Certificate of the client listeners (PEM)."),
    ("key-file", parse_string, "Its key."),
    ("client-cert-auth", parse_bool, "Take only clients with a certificate of the trusted CA."),
    ("trusted-ca-file", parse_string, "The CA of the clients; clients must have its certificate."),
    ("client-cert-file", parse_string, "Certificate to show as a client, in place of the first one."),
    ("client-key-file", parse_string, "Its key."),
    ("client-crl-file", parse_string, "List of revoked certificates of clients."),
    ("client-cert-allowed-hostname", parse_list, "Host names, one of which a client's certificate must be for."),
    ("auto-tls", parse_bool, "Make a certificate for the client listeners that signs itself."),
    ("peer-cert-file", parse_string, "Certificate of this member for the others (PEM)."),
    ("peer-key-file", parse_string, "Its key."),
    ("peer-client-cert-auth", parse_bool, "Take only members with a certificate of the trusted CA."),
    ("peer-trusted-ca-file", parse_string, "The CA of the members; members must have its certificate."),
    ("peer-client-cert-file", parse_string, "Certificate to show when calling other members, in place of the first."),
    ("peer-client-key-file", parse_string, "Its key."),
    ("peer-crl-file", parse_string, "List of revoked certificates of members."),
    ("peer-cert-allowed-cn", parse_list, "Common names, one of which a member's certificate must have."),
    ("peer-cert-allowed-hostname", parse_list, "Host names, one of which a member's certificate must be for."),
    ("peer-auto-tls", parse_bool, "Make a certificate for the other members that signs itself."),
    ("self-signed-cert-validity", parse_uint, "Years that certificates made by this member are valid."),
    ("cipher-suites", parse_list, "Suites of TLS 1.2 to offer and take; empty: those of good standing."),
    ("tls-min-version", parse_string, "Lowest version of TLS: TLS1.2 or TLS1.3."),
    ("tls-max-version", parse_string, "Highest version of TLS; empty: no limit."),
)


def add_security(flags: FlagSet) -> None:
    """Names are etcd's; defaults are those of `Config`."""
    default = Config()
    flags.section("Security")
    for name, parse, usage in _TEXT:
        flags.add(name, parse, getattr(default, name.replace("-", "_")), usage)
    flags.add(
        "peer-skip-client-san-verification",
        parse_bool,
        False,
        "Take members from other addresses than their certificates name.",
    )
