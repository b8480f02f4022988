"""The tables. Normalised rows are what admins edit; the read model beside them is what readers get, written in the same commit.

Called by the writer (which alone may change rows), by migrations and by the admin's lists. The read path never imports this
module: it sends the named SQL of queries/ instead.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models


class LogHead(models.Model):
    """One row: the newest position of the log of changes, and the last ids given out.

    A writer locks this row before it does anything else and keeps it until it commits, so positions rise in commit order on
    every engine, and a rolled-back transaction gives them back. Ids are taken here and not from sequences, because an
    import may bring its own ids, and an id must never be given twice.
    """

    position = models.BigIntegerField(default=0)
    last_movie_id = models.BigIntegerField(default=0)
    last_person_id = models.BigIntegerField(default=0)
    last_facet_id = models.BigIntegerField(default=0)
    folding = models.IntegerField(default=0, db_default=0)  # the version of domain/text.py that the folds were made with
    folded_position = models.BigIntegerField(default=0, db_default=0)  # up to here by that version; see refolding.py

    class Meta:
        db_table = "log_head"


class Change(models.Model):
    """One committed change of one movie, person, genre or key, or a purge of caches. Grows with every write; never updated."""

    position = models.BigAutoField(primary_key=True)  # always given; "auto" makes it SQLite's own row number
    subject = models.CharField(max_length=12, default="movie")
    subject_id = models.BigIntegerField()
    kind = models.CharField(max_length=12)
    version = models.BigIntegerField()
    actor = models.CharField(max_length=200)
    at = models.DateTimeField()
    detail = models.JSONField(default=dict)

    class Meta:
        db_table = "change"
        ordering = ("-position",)
        indexes = (models.Index(fields=("subject", "subject_id", "position"), name="change_subject"),)

    def __str__(self) -> str:
        return f"{self.position}: {self.subject} {self.subject_id} {self.kind}"


class Movie(models.Model):
    """One live movie as it is edited. A deleted or merged one leaves a tombstone and its last content in the log."""

    id = models.BigAutoField(primary_key=True)
    version = models.BigIntegerField(default=1)
    position = models.BigIntegerField(default=0)
    title = models.CharField(max_length=500)
    original_title = models.CharField(max_length=500, null=True, blank=True)
    year = models.IntegerField(null=True, blank=True)
    released = models.DateField(null=True, blank=True)
    runtime_min = models.IntegerField(null=True, blank=True)
    overview = models.TextField(null=True, blank=True)
    tagline = models.CharField(max_length=500, null=True, blank=True)
    certificate = models.CharField(max_length=40, null=True, blank=True)
    rating_average = models.FloatField(null=True, blank=True)
    rating_votes = models.BigIntegerField(null=True, blank=True)
    critics_score = models.IntegerField(null=True, blank=True)
    critics_average = models.FloatField(null=True, blank=True)
    critics_reviews = models.BigIntegerField(null=True, blank=True)
    critics_metascore = models.IntegerField(null=True, blank=True)
    popularity = models.FloatField(null=True, blank=True)
    box_office_usd = models.BigIntegerField(null=True, blank=True)
    oscars = models.IntegerField(null=True, blank=True)
    poster = models.CharField(max_length=1000, null=True, blank=True)
    title_fold = models.CharField(max_length=200, db_index=True)
    updated_at = models.DateTimeField()

    class Meta:
        db_table = "movie"

    def __str__(self) -> str:
        return f"{self.title} ({self.year})" if self.year else self.title


class ExternalIdRow(models.Model):
    """A movie's id in another catalogue. It may belong to a tombstone, so it has no foreign key."""

    scheme = models.CharField(max_length=12)
    value = models.CharField(max_length=200)
    movie_id = models.BigIntegerField(db_index=True)

    class Meta:
        db_table = "external_id"
        constraints = (models.UniqueConstraint(fields=("scheme", "value"), name="external_id_once"),)


class Person(models.Model):
    """One person. Sources give names only, so people of the same name are one person until an admin parts them."""

    id = models.BigAutoField(primary_key=True)
    version = models.BigIntegerField(default=1)
    name = models.CharField(max_length=300, db_index=True)
    name_fold = models.CharField(max_length=300, db_index=True)

    class Meta:
        db_table = "person"
        verbose_name_plural = "people"

    def __str__(self) -> str:
        return self.name


class Credit(models.Model):
    """One person's part in one movie. Thirteen a movie on average."""

    ROLES = (("director", "director"), ("writer", "writer"), ("cast", "cast"))

    movie = models.ForeignKey(Movie, on_delete=models.CASCADE, db_constraint=False)
    person = models.ForeignKey(Person, on_delete=models.PROTECT, db_index=False)
    role = models.CharField(max_length=8, choices=ROLES)
    place = models.IntegerField(default=0)
    character = models.CharField(max_length=300, null=True, blank=True)
    billing = models.IntegerField(null=True, blank=True)

    class Meta:
        db_table = "credit"
        indexes = (models.Index(fields=("person", "role", "movie"), name="credit_person"),)


class Facet(models.Model):
    """A genre, language, country or company, with the number of its movies kept in the same commit as they are.

    Two names are one facet when their `identity` is equal (domain/text.py); the writer compares it while it holds the head of
    the log. `name_fold` is loose: it orders names and finds candidates, and several facets may share it.
    """

    KINDS = (("genre", "genre"), ("language", "language"), ("country", "country"), ("company", "company"))

    id = models.BigAutoField(primary_key=True)
    version = models.BigIntegerField(default=1)
    kind = models.CharField(max_length=8, choices=KINDS)
    name = models.CharField(max_length=300)
    name_fold = models.CharField(max_length=300)
    movies = models.BigIntegerField(default=0)

    class Meta:
        db_table = "facet"
        constraints = (models.UniqueConstraint(fields=("kind", "name"), name="facet_name_once"),)
        indexes = (models.Index(fields=("kind", "name_fold", "id"), name="facet_fold"),)

    def __str__(self) -> str:
        return self.name


class Genre(Facet):
    """The genres among the facets, for the admin."""

    class Meta:
        proxy = True


class MovieFacet(models.Model):
    """One movie's genre, language, country or company, with copies of the movie's sort keys.

    The copies let each order of one genre be one index range, however many movies it has and however deep the page is.
    """

    facet = models.ForeignKey(Facet, on_delete=models.PROTECT, db_index=False)
    movie = models.ForeignKey(Movie, on_delete=models.CASCADE, db_constraint=False)
    place = models.IntegerField(default=0)
    popularity_key = models.FloatField()
    rating_key = models.IntegerField()
    votes_key = models.BigIntegerField()
    year_key = models.IntegerField()
    title_key = models.CharField(max_length=200, db_default="")

    class Meta:
        db_table = "movie_facet"
        constraints = (models.UniqueConstraint(fields=("facet", "movie"), name="movie_facet_once"),)
        indexes = (
            models.Index(fields=("facet", "popularity_key", "movie"), name="facet_popularity"),
            models.Index(fields=("facet", "rating_key", "movie"), name="facet_rating"),
            models.Index(fields=("facet", "votes_key", "movie"), name="facet_votes"),
            models.Index(fields=("facet", "year_key", "movie"), name="facet_year"),
            models.Index(fields=("facet", "title_key", "movie"), name="facet_title"),
        )


class MovieDocument(models.Model):
    """The read model: one live movie as bytes, with the keys that lists sort and filter by."""

    # Not an auto field: that would make it SQLite's own row number, by which a comparison such as
    # (rating_key, movie_id) < (?, ?) cannot go on within an index: a page would read all movies of one rating first.
    movie_id = models.BigIntegerField(primary_key=True)
    version = models.BigIntegerField()
    position = models.BigIntegerField()
    updated_at_s = models.BigIntegerField()
    popularity_key = models.FloatField()
    rating_key = models.IntegerField()
    votes_key = models.BigIntegerField()
    year_key = models.IntegerField()
    runtime_key = models.IntegerField()
    title_key = models.CharField(max_length=200)
    search_rank = models.BigIntegerField()
    card = models.BinaryField()
    body = models.BinaryField()

    class Meta:
        db_table = "movie_document"
        indexes = (
            models.Index(fields=("position",), name="document_position"),
            models.Index(fields=("popularity_key", "movie_id"), name="document_popularity"),
            models.Index(fields=("rating_key", "movie_id"), name="document_rating"),
            models.Index(fields=("votes_key", "movie_id"), name="document_votes"),
            models.Index(fields=("year_key", "movie_id"), name="document_year"),
            models.Index(fields=("title_key", "movie_id"), name="document_title"),
            models.Index(fields=("year_key", "popularity_key", "movie_id"), name="document_year_popularity"),
            models.Index(fields=("year_key", "rating_key", "movie_id"), name="document_year_rating"),
            models.Index(fields=("year_key", "votes_key", "movie_id"), name="document_year_votes"),
        )


class Tombstone(models.Model):
    """What is left of a movie that was deleted, or merged into another one."""

    movie_id = models.BigAutoField(primary_key=True)  # always given
    position = models.BigIntegerField()
    merged_into = models.BigIntegerField(null=True, db_index=True)

    class Meta:
        db_table = "tombstone"


class MoviePopularity(models.Model):
    """How much one movie is asked for, as scores of two half-lives (domain/popularity.py). No change of the catalogue.

    Kept when no shared cache in Redis does it. A row for each movie that was ever asked for twice within ten seconds; those of
    movies that are gone stay, and readers pass over them.
    """

    movie_id = models.BigIntegerField(primary_key=True)
    day = models.FloatField()
    week = models.FloatField()
    at = models.FloatField(db_default=0.0)  # when it was last counted, in seconds since 1970; 0 before this was kept

    class Meta:
        db_table = "movie_popularity"
        indexes = (
            models.Index(fields=("day", "movie_id"), name="popularity_day"),
            models.Index(fields=("week", "movie_id"), name="popularity_week"),
        )


class ApiKey(models.Model):
    """One key of a machine client. The key itself is not stored: a random 256-bit secret needs only a fast hash.

    `quota` is in requests a minute; 0 is without a limit, null is the default of MATINEE_KEY_RATE.
    """

    SCOPES = (("read", "read"), ("write", "write"))

    id = models.BigAutoField(primary_key=True)
    version = models.BigIntegerField(default=1)
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, unique=True)
    digest = models.CharField(max_length=64, unique=True)
    scope = models.CharField(max_length=8, choices=SCOPES)
    quota = models.IntegerField(null=True, blank=True)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "api_key"
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"


class IdempotentAnswer(models.Model):
    """The answer to a POST that carried an Idempotency-Key; kept for 24 hours, deleted by later ones."""

    digest = models.CharField(max_length=64, primary_key=True)
    request_digest = models.CharField(max_length=64)
    answer = models.JSONField()
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "idempotent_answer"


class OneTimePassword(models.Model):
    """A user's password that was printed and must be changed at the first sign-in.

    It holds the hash of that password: as soon as the user's own hash differs, it has been changed.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True)
    password_hash = models.CharField(max_length=200)

    class Meta:
        db_table = "one_time_password"


class SignInAttempt(models.Model):
    """How often sign-ins to one account, from one address, or both together, failed, and until when more are refused.

    One row for each (account, address), each account and each address that was tried. At most 10,000 rows without a
    success, and none older than 30 days (write/sign_ins.py). All servers share them, so they are on the leader.
    """

    KINDS = (("pair", "account and address"), ("account", "account"), ("address", "address"))

    id = models.BigAutoField(primary_key=True)
    key = models.CharField(max_length=64, unique=True)  # SHA-256 of kind, account and address: bounded, whatever was typed
    kind = models.CharField(max_length=8, choices=KINDS)
    account = models.CharField(max_length=150)
    address = models.CharField(max_length=64)
    failures = models.IntegerField(default=0)
    last_at = models.DateTimeField(db_index=True)
    blocked_until = models.DateTimeField(null=True, db_index=True)
    succeeded_at = models.DateTimeField(null=True)  # kind "pair": this account has signed in from this address

    class Meta:
        db_table = "sign_in_attempt"
