"""``aivmc vrf``: what it prints, and how it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from aivmc.trust.keys import PrivateKey, write_private_key
from tests.cli.harness import aivmc_cli, good, good_json, refused
from tests.trust.test_ecvrf import EXAMPLES

SECRET, PUBLIC, ALPHA, PROOF, BETA = EXAMPLES[1]


@pytest.mark.parametrize("command", ["keygen", "prove", "verify"])
def test_help(command: str) -> None:
    assert "Example" in good("vrf", command, "--help")


def test_keygen(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    data = good_json("vrf", "keygen", "--out", path)
    assert data["key"] == str(path)
    proved = good_json("vrf", "prove", "--key", path, "--alpha", "00ff")
    assert proved["public_key"] == data["public_key"]
    assert "exists" in refused(2, "vrf", "keygen", "--out", path)
    assert good_json("vrf", "keygen", "--out", tmp_path / "2.pem") != data


def test_the_rfcs_example(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    write_private_key(path, PrivateKey(SECRET))
    data = good_json("vrf", "prove", "--key", path, "--alpha", ALPHA.hex())
    assert data == {"public_key": PUBLIC.hex(), "beta": BETA.hex(), "proof": PROOF.hex()}
    assert SECRET.hex() not in good("vrf", "prove", "--key", path, "--alpha", ALPHA.hex())
    asked = ("vrf", "verify", "--public-key", PUBLIC.hex(), "--alpha", ALPHA.hex(), "--proof")
    assert good_json(*asked, PROOF.hex()) == {"valid": True, "beta": BETA.hex()}
    assert good(*asked, PROOF.hex().upper()) == f"valid: True\nbeta: {BETA.hex()}\n"
    assert "not valid" in refused(1, *asked, PROOF.hex()[:-2] + "00")
    assert "80 bytes, not 79" in refused(1, *asked, PROOF.hex()[:-2])
    for text in ("0", "zz", "0x00", "é"):
        assert "is not bytes in hex" in refused(2, *asked, text)


def test_a_key_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    write_private_key(path, PrivateKey(SECRET))
    path.chmod(0o644)
    assert "chmod 600" in refused(1, "vrf", "prove", "--key", path, "--alpha", "")
    assert aivmc_cli("vrf").exit_code == 2
