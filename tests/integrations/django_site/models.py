"""The models that are counted."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """Something to insert, update and delete."""

    number = models.IntegerField(unique=True)


class Note(models.Model):
    """Something else, which is not counted where only orders are."""

    text = models.TextField()
