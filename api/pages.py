"""The few HTML pages of the service. They load nothing, from here or from elsewhere."""

from html import escape

from api.problems import TITLES

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 3rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; border-bottom: 1px solid var(--line); }
code { font: .9em ui-monospace, monospace; } table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.verb { font-weight: 600; width: 5rem; } summary { cursor: pointer; padding: .2rem 0; } nav a { margin-right: .6rem; }
details table { font-size: .85em; margin: .3rem 0 1rem; } td:first-child { white-space: nowrap; }
"""


def page(title: str, body: str) -> str:
    """A whole HTML page."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>"
    )


FRONT_PAGE = page(
    "Prior-Auth Fastlane",
    "<h1>Prior-Auth Fastlane</h1>"
    "<p>The multi-tenant data service for prior authorization. Clinics share one PostgreSQL and "
    "never see each other; every change is on record; no patient identifier is kept.</p>"
    "<table>"
    '<tr><td><a href="/admin/">/admin/</a></td><td>The admin GUI for clinic staff and operators</td></tr>'
    '<tr><td><a href="/docs">/docs</a></td><td>The REST API, path by path</td></tr>'
    '<tr><td><a href="/openapi.json">/openapi.json</a></td><td>The same for programs: OpenAPI 3.1</td></tr>'
    "<tr><td><code>/api/me/</code></td><td>Who a token is, and what it may do</td></tr>"
    '<tr><td><a href="/readyz">/readyz</a></td><td>Whether the database answers and is up to date</td></tr>'
    '<tr><td><a href="/healthz">/healthz</a></td><td>Whether the process lives</td></tr>'
    '<tr><td><a href="/metrics">/metrics</a></td><td>Prometheus metrics</td></tr>'
    "</table>",
)


_ADVICE = {
    400: "A parameter, a filter or the JSON of the body could not be parsed. The detail names it.",
    401: "Send a bearer token that the identity provider issued and that has not expired.",
    403: "The token is valid, but its user may not do this, is deactivated, or belongs to no tenant.",
    404: "Nothing is there that this user can see. A row of another tenant looks the same.",
    405: "The Allow header lists the methods that are possible on this path.",
    409: "A unique value is taken, or the row is in a state that forbids this. Read it again.",
    412: "Read the row again, and apply the change to what is there; or send no If-Match to overwrite.",
    413: "Send a smaller body.",
    415: "Send the body as application/json.",
    422: "The body was understood, but its content is not valid. The errors name each field.",
    429: "Wait as long as the Retry-After header says.",
    500: "An error of ours. The request id leads to it in the log.",
    503: "The database or the identity provider is away or busy. Retry after the time in Retry-After.",
    504: "The database took longer than a request may. Ask for less at a time.",
}

PROBLEM_PAGES = {
    slug: page(title, f"<h1>{status}: {escape(title)}</h1><p>{escape(_ADVICE[status])}</p>")
    for status, (slug, title) in TITLES.items()
}
