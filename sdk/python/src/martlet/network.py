"""What a sandbox may reach, and the secrets put into its requests on their way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ._fields import Fields
from ._json import JSON


@dataclass(frozen=True)
class NetworkPolicy:
    """What a sandbox may reach. Private addresses and the host's own are out of reach in every mode.

    A rule is an IPv4 address or range, a host name, or ``*.`` and a name, each with ``:PORTS`` if need be. Without
    ports a name in ``allow`` stands for 80 and 443, an address for every port.
    """

    #: ``none``: nothing. ``allowlist``: what ``allow`` lists. ``public``: every public address but what ``deny`` lists.
    mode: str = "none"
    allow: Sequence[str] = ()
    deny: Sequence[str] = ()
    #: Asked instead of the host's name servers.
    dns_servers: Sequence[str] = ()
    #: Mbit/s, each way.
    rate_mbps: int | None = None
    #: At once.
    max_connections: int | None = None

    @staticmethod
    def none() -> NetworkPolicy:
        """Nothing is reached."""
        return NetworkPolicy("none")

    @staticmethod
    def allowlist(*rules: str) -> NetworkPolicy:
        """These are reached, and nothing else."""
        return NetworkPolicy("allowlist", allow=rules)

    @staticmethod
    def public(*, deny: Sequence[str] = ()) -> NetworkPolicy:
        """Every public address is reached but what is denied."""
        return NetworkPolicy("public", deny=deny)

    def to_json(self) -> dict[str, JSON]:
        """The policy as the API takes it."""
        body: dict[str, JSON] = {"mode": self.mode}
        if self.allow:
            body["allow"] = list(self.allow)
        if self.deny:
            body["deny"] = list(self.deny)
        if self.dns_servers:
            body["dns"] = {"servers": list(self.dns_servers)}
        if self.rate_mbps is not None:
            body["rate_mbps"] = self.rate_mbps
        if self.max_connections is not None:
            body["max_connections"] = self.max_connections
        return body

    @staticmethod
    def parse(f: Fields) -> NetworkPolicy:
        return NetworkPolicy(
            mode=f.text("mode"),
            allow=tuple(f.texts("allow")),
            deny=tuple(f.texts("deny")),
            dns_servers=tuple(f.part_or_none("dns", lambda d: d.texts("servers")) or ()),
            rate_mbps=f.integer_or_none("rate_mbps"),
            max_connections=f.integer_or_none("max_connections"),
        )


@dataclass(frozen=True)
class Secret:
    """A value put into requests to ``hosts`` on their way out; the sandbox has a placeholder in the variable ``name``.

    Give ``value``, or ``from_daemon``, the name of a variable ``MARTLET_SECRET_…`` of the daemon's. No representation
    shows the value.
    """

    name: str
    hosts: Sequence[str]
    value: str | None = field(default=None, repr=False)
    from_daemon: str | None = None
    #: The header to set; without it the placeholder is replaced wherever it stands in a header or the target.
    header: str | None = None
    #: With ``header``: what it is set to, such as ``Bearer {value}``.
    format: str | None = None

    def to_json(self) -> dict[str, JSON]:
        """The secret as the API takes it."""
        source: dict[str, JSON] = {}
        if self.value is not None:
            source["value"] = self.value
        if self.from_daemon is not None:
            source["env"] = self.from_daemon
        body: dict[str, JSON] = {"name": self.name, "value_from": source, "hosts": list(self.hosts)}
        if self.header is not None:
            body["header"] = self.header
        if self.format is not None:
            body["format"] = self.format
        return body


@dataclass(frozen=True)
class SecretInfo:
    """A secret without its value."""

    name: str
    hosts: list[str]
    header: str | None
    #: What the sandbox has in place of the value.
    placeholder: str

    @staticmethod
    def parse(f: Fields) -> SecretInfo:
        return SecretInfo(f.text("name"), f.texts("hosts"), f.text_or_none("header"), f.text("placeholder"))


@dataclass(frozen=True)
class Traffic:
    """What went through a sandbox's network since it was created or last resumed."""

    sent_bytes: int
    received_bytes: int
    sent_packets: int
    received_packets: int
    #: How often something was refused.
    denied: int

    @staticmethod
    def parse(f: Fields) -> Traffic:
        return Traffic(
            f.integer("sent_bytes"),
            f.integer("received_bytes"),
            f.integer("sent_packets"),
            f.integer("received_packets"),
            f.integer("denied"),
        )


@dataclass(frozen=True)
class NetworkInfo:
    """A sandbox's network as it is."""

    policy: NetworkPolicy
    secrets: list[SecretInfo]
    #: On the host's side; None while it does not run.
    address: str | None
    traffic: Traffic | None
    #: Why everything is refused whatever the policy says, if so.
    problem: str | None

    @staticmethod
    def parse(f: Fields) -> NetworkInfo:
        return NetworkInfo(
            policy=f.part("policy", NetworkPolicy.parse),
            secrets=f.parts("secrets", SecretInfo.parse),
            address=f.text_or_none("address"),
            traffic=f.part_or_none("counters", Traffic.parse),
            problem=f.text_or_none("problem"),
        )
