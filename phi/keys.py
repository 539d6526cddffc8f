"""Keys of JSON documents that say that they hold what identifies a patient, however they are written.

`patient_name`, `PatientName`, `patient-name` and `Patient Name` are the same key. A key that only tells something of
such a value (`dob_verified`, `member_id_hash`) holds none, and a thing or a firm may have a name: `drug_name`.
"""

import re

from phi.kinds import Kind
from phi.words import words

LONGEST = 100

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PARTS = re.compile(r"[^\W_]+")
_SUSPICIOUS = re.compile(
    r"name|nm\b|initials|dob|birth|born|bday|addr|street|zip|post|phone|tel|mobile|cell|fax|pager|mail|ssn|social|mrn|rec|"
    r"chart|patient|pt|member|subscriber|policy|insur|benef|enrol|medica|medi|mbi|hic|account|acct|guarant|contact|kin|"
    r"\bss|city|d_?o_?b|itin|call|sms|card|residen|home|recip|holder|spouse|surname|maiden|identif"
)
# What may stand behind without changing what the value is.
_GENERIC = words("generic ends of keys")
# A key that ends so tells of the value; the value is not in it.
_TELLS_OF = words("ends of keys that tell of a value")
_NUMBERS = words("words for number")
_PERSONS = words("persons in keys")
_NAME_PARTS = words("parts of names in keys")
# What or who may have a name and is no patient.
_THINGS = words("things with names")
_NAMES = words("words for name")
_AMBIGUOUS_PHONES = words("ambiguous phones")
_OTHER_ADDRESSES = words("addresses of no person")
_PLACES = words("places")
_HOLDERS = words("holders of member ids")
_RECORDS = words("records")
# By kind: whole keys, squashed; and what they may end with, squashed.
_WHOLE = {kind: words(f"keys of {kind.name}") for kind in Kind}
_ENDS = {kind: tuple(words(f"ends of keys of {kind.name}")) for kind in Kind}


def words_of(key: str) -> list[str]:
    """The key's words in lower case."""
    return [word.lower() for word in _PARTS.findall(_CAMEL.sub("_", key))]


def kind_of_key(key: str, above: str = "") -> Kind | None:
    """What the key holds by its name; `above` is the key of the object that it is in, which says whose name it is."""
    if len(key) > LONGEST or not _SUSPICIOUS.search(key.lower()):
        return None
    parts = words_of(key)
    if not parts or parts[-1] in _TELLS_OF:
        return None
    while len(parts) > 1 and parts[-1] in _GENERIC:
        parts.pop()
    squashed = "".join(parts)
    for kind, whole in _WHOLE.items():
        if squashed in whole or squashed.endswith(_ENDS[kind]):
            return kind
    return _short(parts) or _numbered(parts) or _named(parts, above)


def _short(parts: list[str]) -> Kind | None:
    """What needs no second word, and may have any in front."""
    last = parts[-1].rstrip("0123456789") or parts[-1]
    for kind in (Kind.ssn, Kind.mrn, Kind.mbi):
        if last in _WHOLE[kind] or not _WHOLE[kind].isdisjoint(parts):
            return kind
    if last in _WHOLE[Kind.birth_date]:
        return Kind.birth_date
    if _is_phone([part for part in parts if part not in _NUMBERS] or parts):
        return Kind.phone
    if last in _WHOLE[Kind.email]:
        return Kind.email
    if _OTHER_ADDRESSES.isdisjoint(parts) and (
        last in _WHOLE[Kind.address] or (last in _PLACES and not _PERSONS.isdisjoint(parts))
    ):
        return Kind.address
    return None


def _is_phone(parts: list[str]) -> bool:
    last = parts[-1].rstrip("0123456789") or parts[-1]
    if last in _AMBIGUOUS_PHONES:  # `mobile` has a unit, `cell` a count; of a person it is a number.
        return len(parts) == 1 or not (_PERSONS | _GENERIC).isdisjoint(parts[:-1])
    return last in _WHOLE[Kind.phone]


def _numbered(parts: list[str]) -> Kind | None:
    """`member_id`, `policyNumber`, `chart no`: of whom, and that it is a number."""
    if parts[-1] not in _NUMBERS:
        return None
    of = set(parts[:-1])
    if of & _THINGS - _HOLDERS and not of & _PERSONS:
        return None
    if of & _HOLDERS:
        return Kind.member_id
    return Kind.mrn if of & _RECORDS else None


def _named(parts: list[str], above: str) -> Kind | None:
    """A name, unless it is that of a thing, a firm or somebody who treats."""
    last = parts[-1]
    if last not in _NAMES and last.endswith(("name", "names")):  # `patientname`
        parts = [*parts[:-1], last.removesuffix("s").removesuffix("name"), "name"]
    if parts[-1] not in _NAMES:
        return None
    of = set(parts[:-1])
    if of & _THINGS - _HOLDERS:
        return None
    if of & _PERSONS:
        return Kind.name
    if of - _NAME_PARTS:
        return None
    around = set(words_of(above))
    return None if around & _THINGS and not around & _PERSONS else Kind.name
