"""Function URLs: requests in, payload 2.0 to the function, its response out. `doors` has those of a lab."""

from lambent_lab.service.urls.settings import Cors, UrlSettings

__all__ = ["Cors", "UrlSettings"]
