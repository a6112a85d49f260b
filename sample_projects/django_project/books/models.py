"""What the library holds."""

from django.db import models


class Book(models.Model):
    """A book."""

    title = models.CharField(max_length=200)
    lent = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.title
