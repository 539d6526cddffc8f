"""Medical record numbers and member ids: nothing tells them from other numbers but what they are called."""

import re
from collections.abc import Iterator

from phi.dates import DATE
from phi.kinds import Kind
from phi.spans import Span, before

_NUMBER = r"(?:number|numbers|num|nmbr|nbr|no\b|nr\b|id|ids|identifier|identification|#|№)"
_MRN = (
    r"(?:\bm\.?\s?r\.?\s?n\b\.?|\bmrn(?=[\d_])|\bmr\s?(?:#|no\b|number)|"
    rf"\bmed(?:ical|\.)?[\s_-]{{0,2}}rec(?:ord|ords|\.)?'?s?[\s_-]{{0,2}}{_NUMBER}|"
    rf"\b(?:health|hospital|clinic|emr|ehr|epic|cerner)[\s_-]{{0,2}}(?:record[\s_-]{{0,2}})?{_NUMBER}|"
    rf"\b(?:chart|record|file)[\s_-]{{0,2}}{_NUMBER}|"
    rf"\b(?:patient|pt)'?s?[\s_-]{{0,2}}(?:account[\s_-]{{0,2}}|acct\.?[\s_-]{{0,2}}|chart[\s_-]{{0,2}})?{_NUMBER}|"
    rf"\b(?:patient|pt|guarantor|medical|hospital) (?:account|acct)\b\.?|\b(?:account|acct)\.?\s?{_NUMBER})"
)
_HOLDER = (
    r"(?:member(?:ship)?|subscriber|insured|insurance|policy[\s_-]?holder|policy|beneficiary|enrollee|card[\s_-]?holder|"
    r"medicaid|medicare|medi-cal|tricare|health[\s_-]?plan|health[\s_-]?insurance|recipient|dependent|enrolment|enrollment|"
    r"mbr|mem|sub|hic|coverage)"
)
_MEMBER = (
    rf"(?:\b{_HOLDER}'?s?[\s_-]{{0,2}}(?:card[\s_-]{{0,2}}|policy[\s_-]{{0,2}}|plan[\s_-]{{0,2}}|coverage[\s_-]{{0,2}})?"
    rf"{_NUMBER}|\bhicn\b|\bmbi\b|\bid[\s_-](?:card|number|no\b|num)|\bid\s?#|\bid\b)"
)
_FILLER = (
    r"(?:number|numbers|no|nr|num|id|is|was|are|of|for|as|this|the|his|her|their|patient|pt|member|subscriber|"
    r"insured|beneficiary|on|file|record|card|listed|recorded|reads?|value|under|assigned|given|entered|found|shown|"
    r"currently|new|old|current|medical|mrn|mbi|policy|insurance|medicare|medicaid|plan|active|verified as|"
    r"confirmed as|ends|and|chart|provided|dependent|primary|secondary|health|code|identifier)"
)
_GLUE = rf"(?:[\s:=#\"'()\[\]*|,;./-]{{0,5}}\b{_FILLER}\b(?:'s)?){{0,6}}[\s:=#\"'()\[\]*|,.№-]{{0,6}}"
_VALUE = r"((?:[a-z]{1,5}[- ])?[a-z]{0,10}\d[a-z0-9]*(?:[-./][a-z0-9]+| \d[a-z0-9]*)*)"
_BEFORE = {
    Kind.mrn: re.compile(rf"{_MRN}{_GLUE}(?<![a-z0-9])(?:(?<=mrn)|){_VALUE}|\bmrn(\d[a-z0-9-]*)"),
    Kind.member_id: re.compile(rf"{_MEMBER}{_GLUE}(?<![a-z0-9]){_VALUE}"),
}
_BEHIND = re.compile(
    rf"(?<![a-z0-9]){_VALUE}\s?(?:[(\[]|,?\s?(?:is|was|as) (?:the |her |his |their |patient'?s? |pt'?s? )*)\s?"
    rf"({_MRN}|{_MEMBER})"
)
_HOLDERS = r"\b(?:member|subscriber|insured|enrollee|beneficiary|policyholder|cardholder|mbr)\b"
# Without a word for "number": how many digits then make one.
_DIRECT = {
    6: re.compile(rf"{_HOLDERS}[\s#(]{{1,3}}((?:[a-z]{{1,4}}[- ]?)?\d[a-z0-9-]{{5,20}})"),
    4: re.compile(
        rf"{_HOLDERS}\s?[:=#]\s{{0,2}}([a-z]{{0,5}}[- ]?\d[a-z0-9]{{0,12}}(?:[- ]\d[a-z0-9]{{0,12}}){{0,4}})"
    ),
}
# "ID" alone is anything's; these words before it make it a person's. So do a sentence's start and a comma.
_PERSONAL_ID = re.compile(
    r"(?:^|[.,;:(\[\n\"]\s*|\b(?:aetna|cigna|humana|uhc|unitedhealthcare|united|bcbs|shield|anthem|kaiser|molina|centene|"
    r"medicare|medicaid|tricare|wellcare|member|subscriber|patient|patient's|pt|insured|insurance|policy|health|card|"
    r"health plan|shows|lists|reads|says|is|has|with|under|and|the|new|old|correct|wrong|his|her|their|member's|photo|"
    r"subscriber's|beneficiary|enrollee|payer's|payor's)\s)$"
)
_NOT_PERSONAL = re.compile(
    r"\b(?:medical|clinical|coverage|payer|payor|payment|reimbursement|pharmacy|drug|radiology|utilization|guideline|"
    r"corporate|imaging|surgical|aetna|cigna|humana|anthem|uhc|company|benefit|site of care|administrative|step|cpb|"
    r"evidence|quality|hospital|privacy|program|national|local|our|your)\s$"
)
_ENCLOSED = re.compile(
    r"\b(?:trial|study|device|lot|site|claim|case|case file|group|order|audit|log|claims|police|payer|"
    r"vendor|provider|facility|employer|employee|batch|image|scan|invoice|tax|npi|supplier)\s$"
)
_PLAIN_ID = re.compile(r"(?<![a-z0-9])[a-z]{0,4}[- ]?\d{6,12}(?:-\d{1,2})?$")
_WHOLE_DATE = re.compile(
    r"(?:19|20)\d\d[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}/\d{1,2}/\d{2}|\d{1,2}[-.]\d{1,2}[-.](?:19|20)\d\d"
)
_IN_BETWEEN = ("(", "[", " is ", " was ", " as ")


def find_record_numbers(text: str, lower: str) -> Iterator[Span]:
    """`MRN 0012345`, `Member ID: ABC 123 456`, `00123 (MRN)`; what is called so and looks like no date."""
    for kind, pattern in _BEFORE.items():
        for match in pattern.finditer(lower):
            group = 1 if match[1] else 2
            if _is_number(text, lower, match.start(group), match.end(group), kind) and _is_persons(lower, match, kind):
                yield Span(match.start(group), match.end(group), kind)
    behind = _BEHIND.finditer(lower) if any(sign in lower for sign in _IN_BETWEEN) else ()
    for match in behind:
        kind = Kind.mrn if re.match(_MRN, match[2]) else Kind.member_id
        is_bare = match[2].strip().startswith("id")
        if not is_bare and _is_number(text, lower, match.start(1), match.end(1), kind):
            yield Span(match.start(1), match.end(1), kind)
    for least, pattern in _DIRECT.items():
        for match in pattern.finditer(lower):
            if sum(map(str.isdigit, match[1])) >= least and not DATE.match(match[1]):
                yield Span(match.start(1), match.end(1), Kind.member_id)


def _is_number(text: str, lower: str, start: int, end: int, kind: Kind) -> bool:
    value = lower[start:end]
    digits = sum(map(str.isdigit, value))
    if digits < (3 if kind is Kind.mrn else 4) or len(value) < 4 or _WHOLE_DATE.match(value):
        return False
    # A word in front of the digits is a part of the number only in capitals.
    word = re.match(r"[a-z]{1,5}(?=[ ])", value)
    return word is None or text[start : start + word.end()].isupper()


def _is_persons(lower: str, match: re.Match[str], kind: Kind) -> bool:
    """Whether what the number is called is a person's: not a medical policy, not a trial."""
    ahead = before(lower, match.start(), 24)
    label = match[0]
    if label.startswith("policy") and sum(map(str.isdigit, label)) < 6 and not re.search(r"[a-z]{2,5}\d{4}", label):
        return False
    if kind is Kind.mrn:
        return not (label.startswith(("record", "file", "account", "acct")) and _ENCLOSED.search(ahead))
    if label.startswith("id"):
        is_bare = re.match(r"id(?!\s?(?:#|card|number|num|no\b))", label) and not re.search(r"\w\s$", ahead)
        return _PERSONAL_ID.search(ahead) is not None and (not is_bare or _PLAIN_ID.search(label) is not None)
    if label.startswith(("policy", "coverage", "health", "sub", "mem ")):
        return not _NOT_PERSONAL.search(ahead)
    return True
