from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from support import pki

from coredumpd.apiserver.auth import certificates

DAY = datetime.timedelta(days=1)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def loaded(pair: pki.Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.cert.read_bytes())


def problem(leaf: pki.Pair, *between: pki.Authority, of: pki.Authority, at=None) -> str | None:
    intermediates = [loaded(one.pair) for one in between]
    return certificates.problem(loaded(leaf), intermediates, [loaded(of.pair)], at or now())


@pytest.fixture
def root(tmp_path: Path) -> pki.Authority:
    return pki.Authority(tmp_path, "root", days=3)


def test_a_certificate_is_issued_directly_or_over_what_the_peer_sent_in_any_order(root, tmp_path):
    one = pki.Authority(tmp_path, "one", issuer=root)
    two = pki.Authority(tmp_path, "two", issuer=one)
    other = pki.Authority(tmp_path, "other")
    assert problem(root.issue("a"), of=root) is None
    leaf = two.issue("b")
    for between in ((two, one), (one, two), (other, one, two)):
        assert problem(leaf, *between, of=root) is None
    assert problem(leaf, two, of=one) is None  # an intermediate may be the anchor
    for between in ((), (two,), (one,), (other,)):
        assert problem(leaf, *between, of=root) == certificates.UNKNOWN


def test_a_path_is_as_long_as_its_authorities_allow(root, tmp_path):
    one = pki.Authority(tmp_path, "one", issuer=root, path_length=0)
    two = pki.Authority(tmp_path, "two", issuer=one)
    assert problem(one.issue("a"), one, of=root) is None
    assert problem(two.issue("b"), two, one, of=root) == certificates.UNKNOWN


def test_the_key_of_a_clients_certificate_signs_nothing(root, tmp_path):
    leaf = root.issue("mallory")
    forger = pki.Authority(tmp_path, "forger")
    forger._key, forger._name = pki.private_key(leaf.key), pki.subject(leaf.cert)
    forger.pair = leaf
    assert problem(forger.issue("admin"), forger, of=root) == certificates.UNKNOWN


def test_a_name_alone_is_no_signature(root, tmp_path):
    impostor = pki.Authority(tmp_path / "..", "root-impostor")
    impostor._name = root._name
    assert problem(impostor.issue("a"), of=root) == certificates.UNKNOWN


@pytest.mark.parametrize(
    ("at", "text"), [(DAY * 2, "has expired"), (-DAY, "is not valid"), (DAY * 9, "not valid now")]
)
def test_what_is_not_valid_now_says_so(root, tmp_path, at, text):
    leaf = root.issue("a", not_after=now() + DAY)
    assert text in problem(leaf, of=root, at=now() + at)


def test_an_intermediate_that_has_expired_leads_nowhere(root, tmp_path):
    one = pki.Authority(tmp_path, "one", issuer=root, days=3)
    leaf = one.issue("a")
    assert problem(leaf, one, of=root) is None
    assert problem(leaf, one, of=root, at=now() + DAY * 4) is not None


def test_a_servers_certificate_is_not_for_clients(root):
    leaf = root.issue("a", usages=[ExtendedKeyUsageOID.SERVER_AUTH])
    assert problem(leaf, of=root) == "the client certificate is not for clients"


def test_a_long_chain_is_not_searched_for_ever(root, tmp_path):
    between, issuer = [], root
    for number in range(6):
        issuer = pki.Authority(tmp_path, f"a{number}", issuer=issuer)
        between.append(issuer)
    assert problem(issuer.issue("x"), *between, of=root) == certificates.UNKNOWN


def test_an_authority_of_version_3_says_that_it_is_one(tmp_path):
    certificate = loaded(pki.certificate_without_extensions(tmp_path, "silent"))
    assert "no basicConstraints" in certificates.authority_problem(certificate, now())
