"""Key pairs of age and ssh, made for a test."""

from __future__ import annotations

from typing import NamedTuple

import pyrage
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa


class Pair(NamedTuple):
    """What is told to everybody, and the identity file that opens."""

    recipient: str
    identity: bytes


def age() -> Pair:
    """A pair of age's own (X25519)."""
    secret = pyrage.x25519.Identity.generate()
    return Pair(str(secret.to_public()), f"# made by a test\n{secret}\n".encode())


def ssh(kind: str = "ed25519") -> Pair:
    """A pair as ssh-keygen makes it."""
    secret: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
    if kind == "rsa":
        secret = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    else:
        secret = ed25519.Ed25519PrivateKey.generate()
    openssh = serialization.PublicFormat.OpenSSH
    public = secret.public_key().public_bytes(serialization.Encoding.OpenSSH, openssh).decode()
    private = secret.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    return Pair(f"{public} somebody@example", private)


# Made by `ssh-keygen -t ed25519 -N pass` for this file alone: what a passphrase protects.
LOCKED = b"""\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABCM7DjgrY
dXiJmwwjijXNhbAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAICzJJ9AshApam8ka
wWfvYfuuzwd98agCui5r58LT4AITAAAAkITNLtm7TitF8KjEzbgTuCZ+4hzUUNMIgVdjgC
qZZGnDyagapgNL8UiYCXWr2J9DkFLstY+Jf2yMC93RCKTZ0AaqWeRuN3nIIEwpKe2cZk5F
0OOgVZ7mM/kLH7B3aizRZ26FFhZYYiFx7Nv+Co005tC4CXONsr2ovGG/kNOSZvHv9TwtRI
WerwmB6dZzAv3f7A==
-----END OPENSSH PRIVATE KEY-----
"""
