"""What fills the blanks of the sentences: synthetic identifiers, none of a real person, and clinical words."""

from datetime import date, timedelta
from random import Random

FIRST = (
    "Jane John Maria Wei Aisha Carlos Priya Fatima Olga Tomasz Chloe Marcus Latoya Hiroshi Ingrid Omar Sofia Dmitri Amara "
    "Kevin Brittany Desmond Guadalupe Nathaniel Yusuf Beatriz Siobhan Thaddeus Mei Rohan"
).split()
LAST = (
    "Roe Doe Alvarez Kowalczyk Nguyen Okafor Patel Haddad Ivanova Petrov Dubois Washington Jefferson Tanaka Lindqvist "
    "Hassan Moretti Sokolov Adeyemi Fitzgerald McAllister O'Connor Villanueva Castellanos Steinberg Rasmussen Choi Banerjee "
    "Vandenberg Delacroix"
).split()
DRUGS = (
    "adalimumab methotrexate Humira naproxen gabapentin duloxetine Enbrel Ozempic semaglutide topiramate Aimovig "
    "pembrolizumab Keytruda Dupixent infliximab prednisone cyclobenzaprine tramadol sumatriptan Stelara Eliquis"
).split()
SITES = ("lumbar spine", "cervical spine", "left knee", "right shoulder", "hip", "abdomen", "brain", "left wrist")
LEVELS = ("T12-L1", "L4-L5", "L5-S1", "C5-C6", "C6-7", "L3/4")
PAYERS = ("Aetna", "Cigna", "UnitedHealthcare", "Humana", "Blue Cross Blue Shield", "Anthem", "Kaiser Permanente")
CONDITIONS = (
    "Crohn's disease", "rheumatoid arthritis", "lumbar radiculopathy", "migraine without aura", "type 2 diabetes",
    "Graves disease", "Hodgkin lymphoma", "plaque psoriasis", "Addison disease", "Bell's palsy", "Down syndrome",
)  # fmt: skip
MONTHS = "January February March April May June July August September October November December".split()


def birth_date(random: Random) -> str:
    """A date in one of the ways to write it."""
    day = date(1935, 1, 1) + timedelta(days=random.randrange(32_000))
    month = MONTHS[day.month - 1]
    return random.choice([
        f"{day:%m/%d/%Y}", f"{day:%Y-%m-%d}", f"{day:%m-%d-%Y}", f"{day.month}/{day.day}/{day:%y}", f"{month} {day.day}, {day.year}",
        f"{day.day} {month[:3]} {day.year}", f"{day:%d.%m.%Y}", f"{month[:3]} {day.day} {day.year}", f"{day:%Y/%m/%d}",
        f"{day.day}-{month[:3].upper()}-{day.year}",
    ])  # fmt: skip


def phone(random: Random) -> str:
    """Of the range that is kept for fiction."""
    area, line = random.choice((202, 312, 415, 617, 713, 206, 305)), f"{random.randrange(100, 200):04}"
    return random.choice([
        f"({area}) 555-{line}", f"{area}-555-{line}", f"{area}.555.{line}", f"{area} 555 {line}", f"+1 {area} 555 {line}",
        f"1-{area}-555-{line}", f"+1{area}555{line}", f"{area}555{line}", f"({area})555-{line}", f"+1 ({area}) 555-{line}",
    ])  # fmt: skip


def ssn(random: Random) -> str:
    """In the form of one; most were never given out to anybody in this test's knowledge, and none is somebody's here."""
    area, group, serial = (
        random.choice((random.randrange(1, 665), random.randrange(900, 999))),
        random.randrange(1, 99),
        random.randrange(1, 9999),
    )
    return random.choice([f"{area:03}-{group:02}-{serial:04}"] * 4 + [f"{area:03} {group:02} {serial:04}"])


def email(random: Random, first: str, last: str) -> str:
    name = (
        random.choice([f"{first}.{last}", f"{first[0]}{last}{random.randrange(99)}", f"{first}_{last}+mri"])
        .lower()
        .replace("'", "")
    )
    return f"{name}@{random.choice(('example.com', 'mail.example.org', 'example.net', 'clinic.test'))}"


def mrn(random: Random) -> str:
    number = random.randrange(10_000, 99_999_999)
    return random.choice(
        [str(number), f"{number:08}", f"A{number}", f"MR-{number:07}", f"{number % 10_000_000:07}-{number % 10}"]
    )


def member_id(random: Random) -> str:
    number = random.randrange(100_000, 999_999_999)
    letters = "".join(random.choices("ABCDEFGHJKLMNPQRSTUVWXYZ", k=3))
    return random.choice(
        [
            f"{letters}{number:09}",
            f"W{number:09}",
            f"{number:09}",
            f"MBR-{number:08}",
            f"{letters} {number:09}",
            f"{number:09}-01",
        ]
    )


def mbi(random: Random) -> str:
    """https://www.cms.gov/medicare/new-medicare-card/understanding-new-medicare-beneficiary-identifier-mbi"""
    letters, digits = "ACDEFGHJKMNPQRTUVWXY", "0123456789"
    shape = (
        "123456789",
        letters,
        letters + digits,
        digits,
        letters,
        letters + digits,
        digits,
        letters,
        letters,
        digits,
        digits,
    )
    text = "".join(random.choice(choices) for choices in shape)
    return random.choice([text, f"{text[:4]}-{text[4:7]}-{text[7:]}"])


def name(random: Random, first: str, last: str) -> str:
    return random.choice(
        [f"{first} {last}"] * 4
        + [f"{last}, {first}", f"{first} {random.choice('ABCDEFG')}. {last}", f"{first} {last}".upper()]
    )


def clinical(random: Random) -> dict[str, str]:
    """One value for each blank of a clean sentence; each is drawn again for each sentence."""
    pick = random.choice
    small, year = random.randrange(2, 28), random.randrange(2009, 2027)
    day = date(2025, 1, 1) + timedelta(days=random.randrange(700))
    number = random.randrange
    return {
        "duration": pick((f"{small} weeks", "six weeks", f"{small} months", f"{small} days", "a year")),
        "quality": pick(("burning", "dull", "radiating", "sharp", "intermittent")),
        "site": pick(SITES),
        "score": pick((f"VAS {number(1, 10)}/10", f"{number(1, 10)}/10", f"NRS {number(1, 10)} of 10")),
        "activity": pick(("sitting", "walking", "overhead work", "flexion")),
        "cpt": pick(("72148", "73721", "70551", "97110", "64483", "20610", "0275T", "81528")),
        "icd": pick(("M54.50", "M79.3", "M25.561", "S83.242A", "C50.911", "G43.909", "M54.16, M51.26")),
        "drug": pick(DRUGS),
        "dose": pick(
            (
                f"{number(1, 9)}0 mg",
                f"{number(1, 9)} mg/kg",
                f"{number(1, 9)}.5 mL",
                "40 mg/0.8 mL",
                f"{number(1, 9)}00 mcg",
                "1,000 mg",
            )
        ),
        "imaging": pick(("MRI", "CT", "Ultrasound", "X-ray", "PET/CT")),
        "date": pick(
            (
                f"{day:%Y-%m-%d}",
                f"{day:%m/%d/%Y}",
                f"{MONTHS[day.month - 1]} {day.day}, {day.year}",
                f"{day.month}/{day.day}/{day:%y}",
            )
        ),
        "size": pick(
            (
                f"{number(2, 30)} x {number(2, 30)} mm",
                f"{number(1, 9)}.{number(1, 9)} cm",
                f"{number(2, 30)}x{number(2, 30)}x{number(2, 30)} mm",
            )
        ),
        "lesion": pick(("disc protrusion", "nodule", "meniscal tear", "cyst")),
        "lab": pick(("HbA1c", "CRP", "ESR", "TSH", "LDL", "ferritin")),
        "labvalue": pick(
            (f"{number(4, 14)}.{number(0, 9)} %", f"{number(1, 200)} mg/L", f"{number(1, 9)}.{number(10, 99)} mIU/L")
        ),
        "labnum": f"{number(1, 90)}.{number(0, 9)}",
        "therapy": pick(("physical therapy", "cognitive behavioral therapy", "aquatic therapy", "chiropractic care")),
        "procedure": pick(("epidural steroid injection", "arthroscopy", "facet block", "ablation")),
        "route": pick(("PO", "SC", "IV")),
        "frequency": pick(("BID", "q8h", "weekly", "every 14 days", "q4-6h prn")),
        "interval": pick(("8 weeks", "14 days", "other week")),
        "percent": f"{number(5, 95)}%",
        "small": str(small),
        "bmi": f"{number(18, 45)}.{number(0, 9)}",
        "bp": f"{number(100, 180)}/{number(60, 100)}",
        "hr": str(number(50, 110)),
        "weight": pick((f"{number(45, 140)} kg", f"{number(100, 300)} lb")),
        "strength": pick(("4/5", "3+/5", "5-/5")),
        "muscle": pick(("quadriceps", "tibialis anterior", "deltoid")),
        "level": pick(LEVELS),
        "ref": pick(
            (
                f"{number(10**8, 10**9)}",
                f"2026-{number(10**5, 10**6)}",
                f"PA{number(10**6, 10**7)}",
                f"{number(10**9, 10**10)}",
                f"A-{number(10**3, 10**4)}-{number(10**3, 10**4)}",
            )
        ),
        "payer": pick(PAYERS),
        "policy": pick(
            (
                f"CPB 0{number(100, 999)}",
                f"RAD.{number(10, 99)}",
                f"2026.{number(10, 99)}",
                f"no. {number(1000, 99999)}",
            )
        ),
        "units": str(number(10, 99)),
        "ndc": pick(("00093-1055-01", "0074-0243-02", "50242-0138-01", "58406-445-04")),
        "hcpcs": pick(("J1885", "J0135", "E0601", "G0283", "L1832")),
        "npi": pick(("1234567893", "1457382910", "1003000126")),
        "first": pick(FIRST),
        "last": pick(LAST),
        "specialty": pick(("orthopedic surgery", "neurology", "rheumatology", "pain medicine")),
        "condition": pick(CONDITIONS),
        "year": str(year),
        "month": pick(MONTHS),
        "mm": str(number(2, 60)),
        "snomed": pick(("109838007", "230690007", "73211009", "396275006")),
        "sevendigits": str(number(10**6, 10**7)),
        "lot": pick((f"{number(100000, 999999)}", f"EW0{number(100, 999)}", f"{number(10**8, 10**9)}")),
        "iso": f"{day:%Y-%m-%d}T10:{small:02}:00Z",
    }
