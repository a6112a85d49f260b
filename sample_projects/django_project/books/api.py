"""The API: /api/books/ and /api/books/<pk>/."""

from rest_framework.serializers import ModelSerializer
from rest_framework.viewsets import ModelViewSet

from books.models import Book


class BookSerializer(ModelSerializer):
    """A book as JSON."""

    class Meta:
        model = Book
        fields = ("id", "title", "lent")


class BookViewSet(ModelViewSet):
    """Everything that can be done with books."""

    queryset = Book.objects.order_by("id")
    serializer_class = BookSerializer
    authentication_classes = ()
    permission_classes = ()
