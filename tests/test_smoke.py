import httpx

from tests.clinics import Clinic


async def test_own_rows_only(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """A clinic lists its own cases and no others."""
    north, south = clinics
    for clinic in clinics:
        rows = (await client.get("/api/cases/", headers=clinic.headers())).json()["rows"]
        assert [row["id"] for row in rows] == [str(clinic.rows["cases"])]
