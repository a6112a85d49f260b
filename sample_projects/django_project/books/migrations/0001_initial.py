"""Make the table, with some books in it."""

from django.db import migrations, models

TITLES = ("Middlemarch", "Moby-Dick", "Effi Briest")


def add_books(apps, schema_editor) -> None:
    """Give the library something to show."""
    apps.get_model("books", "Book").objects.bulk_create(
        apps.get_model("books", "Book")(title=title) for title in TITLES
    )


class Migration(migrations.Migration):
    """The first one."""

    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Book",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("title", models.CharField(max_length=200)),
                ("lent", models.BooleanField(default=False)),
            ],
        ),
        migrations.RunPython(add_books, migrations.RunPython.noop),
    ]
