"""Which column of a list is which field: HubSpot, Salesforce, Mailchimp and plain headers, and `--map` for the rest."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nurture.documents.nearest import suggest
from nurture.domain.problem import Problem
from nurture.store.lead_fields import CUSTOM, LEAD_FIELDS, MOST_CUSTOM_FIELDS, is_custom_name

EMAIL, NAME, TAGS, STAGE, IGNORE = "email", "name", "tags", "stage", "ignore"
CONSENT, CONSENT_AT, CREATED_AT = "consent", "consent_at", "created_at"
OPT_OUT, BOUNCED, STATUS = "opt_out", "bounced", "status"
TARGETS = (EMAIL, *LEAD_FIELDS, NAME, TAGS, STAGE, CREATED_AT, CONSENT, CONSENT_AT, OPT_OUT, BOUNCED, STATUS, IGNORE)
_MANY = (TAGS, OPT_OUT, BOUNCED, STATUS, IGNORE)
"""What several columns may be at once; of the others the first one is it, and a later one a custom field."""

# Headers as `_plain` writes them -> the field. Of one system or another; a plain name is a field's own name.
_KNOWN: Mapping[str, str] = {
    **{name.replace("_", " "): name for name in LEAD_FIELDS},
    **dict.fromkeys(
        ("email", "e mail", "email address", "e mail address", "mail", "work email", "business email"), EMAIL
    ),
    **dict.fromkeys(("first", "firstname", "given name", "vorname", "prenom"), "first_name"),
    **dict.fromkeys(("last", "lastname", "surname", "family name", "nachname", "nom"), "last_name"),
    **dict.fromkeys(("name", "full name", "contact name"), NAME),
    **dict.fromkeys(("job title", "jobtitle", "position", "role"), "title"),
    **dict.fromkeys(("company name", "account name", "account", "organization", "organisation", "firma"), "company"),
    **dict.fromkeys(("phone number", "telephone", "business phone", "telefon"), "phone"),
    **dict.fromkeys(("country region", "country code", "mailing country", "land", "pays", "cc"), "country"),
    **dict.fromkeys(("time zone", "tz"), "timezone"),
    **dict.fromkeys(("preferred language", "locale", "lang", "sprache"), "language"),
    **dict.fromkeys(("original source", "original traffic source", "lead source", "leadsource"), "channel"),
    **dict.fromkeys(("campaign name", "utm campaign", "most recent campaign"), "campaign"),
    **dict.fromkeys(("contact owner", "lead owner", "account owner", "owner name", "owner alias"), "owner"),
    **dict.fromkeys(("record id", "contact id", "lead id", "id", "vid", "euid"), "external_id"),
    **dict.fromkeys(("number of employees", "numberofemployees", "no of employees", "employees"), "custom.employees"),
    "plan": "custom.plan",
    **dict.fromkeys(("tags", "tag", "labels"), TAGS),
    **dict.fromkeys(("lifecycle stage", "lifecyclestage", "stage"), STAGE),
    **dict.fromkeys(
        ("create date", "created date", "createdate", "createddate", "created at", "created", "date created"),
        CREATED_AT,
    ),
    **dict.fromkeys(
        (
            "consent",
            "marketing consent",
            "email consent",
            "consent to marketing",
            "gdpr consent",
            "opt in",
            "opted in",
            "email opt in",
            "marketing opt in",
            "accepts marketing",
            "accepts email marketing",
            "subscribed",
            "einwilligung",
            "consentement",
        ),
        CONSENT,
    ),
    **dict.fromkeys(
        ("consent date", "consent time", "consent at", "consented at", "opt in date", "optin time", "confirm time"),
        CONSENT_AT,
    ),
    **dict.fromkeys(
        (
            "opt out",
            "opted out",
            "email opt out",
            "has opted out of email",
            "hasoptedoutofemail",
            "unsubscribed",
            "unsubscribed from all email",
            "unsubscribed from email",
            "unsub time",
            "unsubscribe date",
            "unsubscribed at",
            "do not email",
            "do not contact",
            "globally unsubscribed",
        ),
        OPT_OUT,
    ),
    **dict.fromkeys(
        (
            "bounced",
            "hard bounce",
            "hard bounced",
            "hard bounce reason",
            "email hard bounce reason",
            "email bounced",
            "email bounced date",
            "email bounced reason",
            "emailbounceddate",
            "emailbouncedreason",
            "isemailbounced",
            "is email bounced",
            "clean time",
            "cleaned",
            "invalid email address",
            "email address quarantined",
            "email address quarantine reason",
        ),
        BOUNCED,
    ),
    **dict.fromkeys(
        ("status", "email status", "email marketing", "email marketing status", "subscription status"), STATUS
    ),
    **dict.fromkeys(("rejected line", "rejected reason", "rejected detail"), IGNORE),  # of our own rejects file
}
_OPT_OUT_OF_A_LIST = "opted out of email"
"""HubSpot: 'Opted out of email: Marketing Information', one column for each kind of mail."""
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """`target` is one of TARGETS or `custom.X`; `header` is the name as it stands in the file.

    `is_free` marks a column that nobody gave a meaning: its text may have several lines.
    """

    index: int
    header: str
    target: str
    is_free: bool = False


def map_columns(headers: Sequence[str], given: Mapping[str, str]) -> list[Column]:
    """Every column's field; `given` (--map) goes first. Raises Problem."""
    chosen = _given(headers, given)
    taken = set(chosen.values())
    names: set[str] = {target for target in taken if target.startswith(CUSTOM)}
    columns = []
    for index, header in enumerate(headers):
        target, is_free = chosen.get(index) or _known(header), False
        if target is None or (index not in chosen and target in taken and target not in _MANY):
            target, is_free = _custom(header, index, names), True
        taken.add(target)
        names.add(target)
        columns.append(Column(index=index, header=header, target=target, is_free=is_free))
    _check(columns, headers)
    return columns


def _given(headers: Sequence[str], given: Mapping[str, str]) -> dict[int, str]:
    plain = {_plain(header): index for index, header in reversed(list(enumerate(headers)))}
    chosen: dict[int, str] = {}
    for header, target in given.items():
        index = plain.get(_plain(header))
        if index is None:
            raise Problem(f"--map '{header}={target}': the file has no column '{header}'{suggest(header, headers)}")
        is_custom = target.startswith(CUSTOM) and is_custom_name(target.removeprefix(CUSTOM))
        if target not in TARGETS and not is_custom:
            raise Problem(f"--map '{header}={target}': unknown field '{target}'{suggest(target, (*TARGETS, CUSTOM))}")
        if target in chosen.values() and target not in _MANY:
            raise Problem(f"--map '{header}={target}': another column is mapped to {target} already")
        chosen[index] = target
    return chosen


def _known(header: str) -> str | None:
    plain = _plain(header)
    return OPT_OUT if plain.startswith(_OPT_OUT_OF_A_LIST) else _KNOWN.get(plain)


def _custom(header: str, index: int, names: set[str]) -> str:
    """`custom.snake_case`, a name of its own, that a condition can say."""
    bare = unicodedata.normalize("NFKD", header).encode("ascii", "ignore").decode().lower()
    name = "_".join(_WORD.findall(bare))[:56] or f"column_{index + 1}"
    name = f"_{name}" if name[0].isdigit() else name
    name = f"{name}_" if keyword.iskeyword(name) else name
    numbered = [name, *(f"{name}_{number}" for number in range(2, len(names) + 3))]
    return next(CUSTOM + each for each in numbered if CUSTOM + each not in names)


def _check(columns: Sequence[Column], headers: Sequence[str]) -> None:
    if not any(column.target == EMAIL for column in columns):
        found = ", ".join(f"'{header}'" for header in headers[:20]) + (" …" if len(headers) > 20 else "")
        raise Problem(f'no column holds the e-mail address: found {found}; name it with --map "COLUMN=email"')
    custom = [column for column in columns if column.target.startswith(CUSTOM)]
    if len(custom) > MOST_CUSTOM_FIELDS:
        raise Problem(
            f"{len(custom)} columns would become custom fields, at most {MOST_CUSTOM_FIELDS} can: "
            'leave some out with --map "COLUMN=ignore"'
        )


def _plain(header: str) -> str:
    """Words in small letters without accents, so that 'Country/Region' and 'COUNTRY_REGION' are one."""
    bare = unicodedata.normalize("NFKD", header)
    bare = "".join(char for char in bare if not unicodedata.combining(char))
    return " ".join(_WORD.findall(bare.lower()))
