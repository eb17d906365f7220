"""The settings of the shop; the database comes as a DSN in SHOP_DATABASE."""
import os
from urllib.parse import urlparse

database = urlparse(os.environ["SHOP_DATABASE"])

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": database.hostname,
        "PORT": database.port,
        "USER": database.username,
        "PASSWORD": database.password or "",
        "NAME": database.path.lstrip("/"),
        "ATOMIC_REQUESTS": True,
        "CONN_MAX_AGE": None,
    }
}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django_shop"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_shop.middleware.banner",
]
# Sessions in cookies: those in the database are asked for with the time of the request, never the same twice.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
ROOT_URLCONF = "django_shop.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TIME_ZONE = "Europe/Berlin"
USE_TZ = True
SECRET_KEY = "a sample has no secrets"
ALLOWED_HOSTS = ["testserver"]
