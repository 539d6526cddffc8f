"""The spelling of diagnosis and procedure codes. `cases/sql/values_1.sql` holds the same for whoever writes.

Outer blanks go, letters become upper case, and an ICD-10-CM code without its dot gets it. Nothing else is mended, and
whether a code exists is not asked: the lists are licensed, and a tenant loads its own.
"""

import re
import string
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from cases.code_lists import CodeSystem
from tenancy.rules import Change, RuleViolation

BLANKS = " \t\r\n"
_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
_WITHOUT_DOT = re.compile("[A-Z][0-9][0-9AB][0-9A-Z]{1,4}")
_FORMATS = {
    CodeSystem.CPT: re.compile("[0-9]{4}[0-9FT]"),
    CodeSystem.HCPCS: re.compile("[A-V][0-9]{4}"),
    CodeSystem.ICD10CM: re.compile(r"[A-Z][0-9][0-9AB](\.[0-9A-Z]{1,4})?"),
}
EXPECTED = {
    CodeSystem.CPT: "must be a CPT code: five digits, or four digits and F or T",
    CodeSystem.HCPCS: "must be a HCPCS Level II code: a letter from A to V and four digits",
    CodeSystem.ICD10CM: "must be an ICD-10-CM code, such as M79.3",
}
_EITHER = f"{EXPECTED[CodeSystem.CPT]}; or {EXPECTED[CodeSystem.HCPCS].removeprefix('must be ')}"


def normalised(code: str, system: CodeSystem) -> str | None:
    """The code as it is stored; None when it is none of the system. Only ASCII passes."""
    code = code.strip(BLANKS).translate(_UPPER)
    if system is CodeSystem.ICD10CM and _WITHOUT_DOT.fullmatch(code):
        code = f"{code[:3]}.{code[3:]}"
    return code if _FORMATS[system].fullmatch(code) else None


def _diagnosis_code(code: str) -> str:
    found = normalised(code, CodeSystem.ICD10CM)
    if found is None:
        raise ValueError(EXPECTED[CodeSystem.ICD10CM])
    return found


def _procedure_code(code: str) -> str:
    found = normalised(code, CodeSystem.CPT) or normalised(code, CodeSystem.HCPCS)
    if found is None:
        raise ValueError(_EITHER)
    return found


def _as_sent(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": rf"^[ \t\r\n]*({pattern})[ \t\r\n]*$"})


DiagnosisCode = Annotated[
    str, AfterValidator(_diagnosis_code), _as_sent(r"[A-Za-z][0-9][0-9ABab](\.?[0-9A-Za-z]{1,4})?")
]
ProcedureCode = Annotated[str, AfterValidator(_procedure_code), _as_sent("[0-9]{4}[0-9FTft]|[A-Va-v][0-9]{4}")]


def code_is_of_its_type(change: Change) -> None:
    """A code is of the system that `code_type` names. Where one of them is stored, the database compares."""
    code, system = change.values.get("code"), change.values.get("code_type")
    if not isinstance(code, str) or system not in (CodeSystem.CPT, CodeSystem.HCPCS):
        return
    if normalised(code, CodeSystem(system)) is None:
        raise RuleViolation("code", EXPECTED[CodeSystem(system)])
