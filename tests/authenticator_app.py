"""An operator's authenticator app: what it reads off the page of the admin, and the codes that it shows."""

import re
import time
from dataclasses import dataclass, field

import httpx

from tenancy import totp
from tests.operators import PASSWORD

SETUP = "/api/mfa-setup/"
_KEY = re.compile(r'id="key">([A-Z2-7 ]+)<')
_ENOUGH_SECONDS = 12
_RECOVERY = re.compile(r"<li><code>([a-z0-9-]+)</code></li>")
_TOKEN = re.compile(r'name="csrftoken" value="([^"]+)"')


@dataclass
class App:
    """One that was set up with the page's key."""

    key: str
    recovery: list[str]
    _last: int = field(default=0)

    @classmethod
    def of_page(cls, page: str) -> "App":
        found = _KEY.search(page)
        assert found, page
        left = totp.STEP_SECONDS - time.time() % totp.STEP_SECONDS
        if left < _ENOUGH_SECONDS:  # Three codes are good now; the first would not be for long.
            time.sleep(left)
        return cls(found[1].replace(" ", ""), _RECOVERY.findall(page))

    def code(self) -> str:
        """A code that was not shown before: the service takes the next one early, for a clock may be off."""
        self._last = max(totp.step_now() - 1, self._last + 1)
        return totp.code_at(self.key, self._last)


async def submit(client: httpx.AsyncClient, action: str, **fields: str) -> httpx.Response:
    """What the page's form sends, its token in the form as a browser has it."""
    page = await client.get(SETUP)
    token = _TOKEN.search(page.text)
    assert token, page.text
    form = {"action": action, "csrftoken": token[1], **fields}
    return await client.post(SETUP, data=form, headers={"X-CSRFToken": ""})


async def set_up(client: httpx.AsyncClient) -> App:
    """An operator who is logged in sets an app up, and confirms it."""
    begun = await submit(client, "begin", password=PASSWORD)
    assert begun.status_code == 200, begun.text
    app = App.of_page(begun.text)
    confirmed = await submit(client, "confirm", code=app.code())
    assert confirmed.status_code == 200, confirmed.text
    return app
