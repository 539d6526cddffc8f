"""The kinds of identifiers that are recognised, and how a refusal words them: never with the value."""

from enum import Enum


class Kind(str, Enum):
    """What a value looks like, or what a key is for."""

    name = "a person's name"
    birth_date = "a date of birth"
    address = "a postal address"
    phone = "a phone number"
    email = "an e-mail address"
    ssn = "a Social Security number"
    mrn = "a medical record number"
    member_id = "a member id"
    mbi = "a Medicare beneficiary identifier"

    @property
    def of_value(self) -> str:
        """For a value that is recognised."""
        return f"looks like {self.value} and must not be stored"

    @property
    def of_key(self) -> str:
        """For a key whose name says what it holds."""
        return f"is a key for {self.value}, which must not be stored"
