"""Where the database is: the two URLs of the settings, or the embedded PostgreSQL."""

from tenancy.database_url import DatabaseURL
from tenancy.settings import Settings


class Databases:
    """Resolves, at first use, the URL of the restricted role and the owner's."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def app_url(self) -> str:
        """The URL that serves requests."""
        if self.settings.uses_embedded_database:
            return self._embedded_url(of_owner=False)
        if self.settings.database_url is None:
            raise LookupError("DATABASE_URL is not set, only DIRECT_DATABASE_URL is")
        return self.settings.database_url.get_secret_value()

    def direct_url(self) -> str:
        """The URL that migrations run on; never a pooled one."""
        if self.settings.uses_embedded_database:
            return self._embedded_url(of_owner=True)
        if self.settings.direct_database_url is None:
            raise LookupError("DIRECT_DATABASE_URL is not set; migrations and provisioning need it")
        return self.settings.direct_database_url.get_secret_value()

    def app(self) -> DatabaseURL:
        return DatabaseURL.parse(self.app_url())

    def direct(self) -> DatabaseURL:
        return DatabaseURL.parse(self.direct_url())

    def _embedded_url(self, *, of_owner: bool) -> str:
        if self.settings.is_production:
            raise LookupError("DATABASE_URL is not set, and production does not start an embedded database")
        from tenancy import embedded  # noqa: PLC0415  # Production has no use for it.

        return embedded.start(self.settings.data_dir).url(embedded.OWNER if of_owner else embedded.APP)
