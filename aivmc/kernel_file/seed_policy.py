"""Where the seed of a kernel's random ops comes from: part of its config.

``fixed``: an integer that is baked in. ``input``: 32 bytes with each request. ``vrf``: a proof with
each request, which is verified and gives the 32 bytes; the code uses them as those of ``input``.
"""

from __future__ import annotations

from dataclasses import dataclass

from aivmc.ir.binding import InputError
from aivmc.ir.errors import AivmcError
from aivmc.ir.seeds import SEED_BYTES, check_seed
from aivmc.kernel_file.errors import IntegrityError
from aivmc.kernel_file.signature import Json

POLICIES = ("fixed", "input", "vrf")


@dataclass(frozen=True)
class SeedPolicy:
    """``value`` is the fixed seed, else None. ``AivmcError`` where the two don't go together."""

    policy: str = "fixed"
    value: int | None = 0

    @staticmethod
    def of(policy: str, seed: int | None) -> SeedPolicy:
        """The policy that a user names; a fixed seed is 0 where none is given."""
        return SeedPolicy(policy, seed or 0 if policy == "fixed" else seed)

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise AivmcError(
                f"there is no seed policy {self.policy!r}; there are {', '.join(POLICIES)}"
            )
        if self.value is None:
            if self.policy == "fixed":
                raise AivmcError("the seed policy fixed needs a seed")
        elif self.policy != "fixed":
            raise AivmcError(
                f"with the seed policy {self.policy} the seed comes with each request: "
                "leave it out when compiling"
            )
        elif not 0 <= self.value < 1 << 8 * SEED_BYTES:
            raise AivmcError(f"a seed is 0 to 2^{8 * SEED_BYTES} - 1, not {self.value}")

    @property
    def fixed_seed(self) -> bytes | None:
        """The seed that is baked in, big-endian; None where it comes with each request."""
        return None if self.value is None else self.value.to_bytes(SEED_BYTES, "big")

    def check_request(self, seed: object, proven: bytes | None = None) -> bytes | None:
        """The seed of a request, which gives it as it is or has it ``proven``.

        ``InputError`` unless it is what the policy asks for.
        """
        if self.policy == "vrf":
            return _check_proven(seed, proven)
        if proven is not None:
            raise InputError(f"the kernel's seed policy is {self.policy}: it takes no proof")
        if self.policy == "fixed":
            if seed is not None:
                raise InputError(
                    "the kernel's seed is fixed, and one is given: compile with the seed policy "
                    "input for a seed with each request"
                )
            return None
        if seed is None:
            raise InputError(
                "the kernel takes a seed with each request (its seed policy is input), and none is "
                f"given: it is {SEED_BYTES} bytes"
            )
        return check_seed(seed)

    def to_json(self) -> Json:
        # JSON's integers end at 2**53.
        value = {} if self.value is None else {"value": str(self.value)}
        return {"policy": self.policy, **value}

    @staticmethod
    def from_config(config: Json) -> SeedPolicy:
        """The policy in a manifest's config; ``IntegrityError`` where there is no good one."""
        try:
            data = config["seed"]
            value = int(data["value"]) if "value" in data else None
            return SeedPolicy(str(data["policy"]), value)
        except (KeyError, TypeError, ValueError, AivmcError) as error:
            raise IntegrityError(f"the kernel's config names no seed policy: {error}") from None


def _check_proven(seed: object, proven: bytes | None) -> bytes:
    if seed is not None:
        raise InputError(
            "the kernel's seed policy is vrf, and a seed is given: it draws from a proof only"
        )
    if proven is None:
        raise InputError(
            "the kernel runs only with a proof of its randomness (its seed policy is vrf), and "
            "none is given"
        )
    return check_seed(proven)
