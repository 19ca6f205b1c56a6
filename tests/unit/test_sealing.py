from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as some
from support import keys

from coredumpd import errors, sealing

CORE = os.urandom(3_000_000)


def sealed(core: bytes, *pairs: keys.Pair) -> bytes:
    out = io.BytesIO()
    to = sealing.recipients("\n".join(pair.recipient for pair in pairs))
    sealing.seal(io.BytesIO(core), out, to)
    return out.getvalue()


def opened(data: bytes, *pairs: keys.Pair) -> bytes:
    out = io.BytesIO()
    found = [key for pair in pairs for key in sealing.identities(pair.identity)]
    sealing.open(io.BytesIO(data), out, found)
    return out.getvalue()


@pytest.mark.parametrize("make", [keys.age, keys.ssh, lambda: keys.ssh("rsa")])
def test_what_is_sealed_to_several_is_opened_by_each(make):
    pair, other = make(), keys.age()
    data = sealed(CORE, other, pair)
    assert data.startswith(b"age-encryption.org/v1\n")
    assert opened(data, pair) == CORE
    assert opened(data, other) == CORE


@given(some.binary(max_size=200_000))
def test_any_bytes_come_back(core):
    pair = keys.age()
    assert opened(sealed(core, pair), pair) == core


def test_another_identity_opens_nothing_and_writes_nothing():
    data, out = sealed(CORE, keys.age()), io.BytesIO()
    with pytest.raises(errors.CannotOpen, match="no identity given opens it"):
        sealing.open(io.BytesIO(data), out, sealing.identities(keys.age().identity))
    assert out.getvalue() == b""


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-5000],
        lambda data: data[: len(data) - len(data) % 65552],
        lambda data: data[:2_000_000] + b"\0" * 9 + data[2_000_009:],
        lambda data: data + b"x",
        lambda data: data[:30],
        lambda data: b"",
        lambda data: b"\x7fELF" + data,
    ],
)
def test_what_is_cut_or_damaged_is_told(spoil):
    pair = keys.age()
    with pytest.raises(errors.StorageError, match="age file"):
        opened(spoil(sealed(CORE, pair)), pair)


class Broken(io.BytesIO):
    """Fails after some calls, as a disk does."""

    calls = 3

    def _count(self) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise OSError(28, "No space left on device")

    def read(self, size: int | None = -1) -> bytes:
        self._count()
        return super().read(size)

    def write(self, data):
        self._count()
        return super().write(data)


def test_what_a_file_raises_comes_out_as_it_is():
    pair = keys.age()
    to, found = sealing.recipients(pair.recipient), sealing.identities(pair.identity)
    data = sealed(CORE * 2, pair)
    for call in (
        lambda: sealing.seal(Broken(CORE * 2), io.BytesIO(), to),
        lambda: sealing.seal(io.BytesIO(CORE), Broken(), to),
        lambda: sealing.open(Broken(data), io.BytesIO(), found),
        lambda: sealing.open(io.BytesIO(data), Broken(), found),
    ):
        with pytest.raises(OSError, match="No space left") as caught:
            call()
        assert caught.value.errno == 28


def test_ssh_keys_are_named_by_the_fingerprint_that_ssh_keygen_shows():
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN"
    (name,) = sealing.recipients(f"# of alice\n\n  {key} alice@rust\n").names
    assert name == "ssh-ed25519 SHA256:PYX4o9UfGwCwG76hFcLAEkmMS0PtIBtV9MNmVgW16Oc"


def test_a_recipient_that_is_named_twice_counts_once():
    pair = keys.age()
    assert sealing.recipients(f"{pair.recipient}\n{pair.recipient}").names == (pair.recipient,)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "0 recipients; there must be 1 to 20"),
        ("# nobody\n\n", "0 recipients; there must be 1 to 20"),
        ("age1xyz", "line 1 must be a public key of age"),
        ("# x\nssh-ed25519", "line 2 must be a public key of age"),
        ("ssh-ed25519 AAAA", "line 1 must be a public key of age"),
        ("ecdsa-sha2-nistp256 AAAA", "line 1 must be a public key of age"),
        ("x" * 70_000, "70000 characters"),
    ],
)
def test_what_is_no_recipient_is_named_by_its_line(text, why):
    with pytest.raises(errors.Invalid, match=why):
        sealing.recipients(text)


def test_a_secret_key_among_the_recipients_is_told_but_never_repeated():
    secret = keys.age().identity.decode()
    with pytest.raises(errors.Invalid, match="line 2 is a secret key") as caught:
        sealing.recipients(secret)
    assert secret.splitlines()[1][16:] not in str(caught.value)


@given(some.text(min_size=8, alphabet=some.characters(min_codepoint=48)))
def test_no_text_that_is_no_key_is_repeated(text):
    with pytest.raises(errors.Invalid) as caught:
        sealing.recipients(text)
    assert text not in str(caught.value)
    with pytest.raises(errors.Invalid) as caught:
        sealing.identities(text.encode("utf-8", "surrogatepass"))
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "holds no identity"),
        (b"# only a comment\n", "holds no identity"),
        (b"AGE-SECRET-KEY-1XX", "line 1 must be a secret key"),
        (b"\xff\xfe", "line 1 must be a secret key"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nxx\n", "cannot use this ssh key"),
        (keys.LOCKED, "that no passphrase protects"),
        (b"age-encryption.org/v1\n-> scrypt", "protected by a passphrase"),
    ],
)
def test_a_file_that_is_no_identity_says_why(data, why):
    with pytest.raises(errors.Invalid, match=why):
        sealing.identities(data)
