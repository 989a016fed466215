"""_forms.yaml becomes `Form` and `Offer` values: what the public pages show and what a lead gets in return."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath

from nurture.authoring.forms_file import FieldBody, FormBody, FormsFile, OfferBody
from nurture.authoring.reading import Reading
from nurture.documents.document import Path
from nurture.domain.conditions import CustomType
from nurture.domain.forms import ConfirmMail, ConsentBox, FieldKind, Form, FormField, Offer

FIELDS: dict[str, FieldKind] = {
    "email": "email",
    "first_name": "text",
    "last_name": "text",
    "title": "text",
    "company": "text",
    "country": "text",
    "language": "text",
    "timezone": "text",
    "phone": "tel",
}
"""The lead fields that a visitor may fill in, and how they are asked by default."""
_CUSTOM_KINDS: dict[str, FieldKind] = {"number": "number", "date": "date", "boolean": "checkbox"}
_CHOICES = ("select", "radio")


def compile_forms(
    reading: Reading, file: FormsFile, *, root: FilePath, types: Mapping[str, CustomType] | None
) -> tuple[dict[str, Form], dict[str, Offer]]:
    """Forms and offers by name. `types` are the declared custom fields; None where none are declared."""
    offers = {name: _offer(reading, name, body, root) for name, body in file.offers.items()}
    forms = {name: _form(reading, name, body, frozenset(offers), root, types) for name, body in file.forms.items()}
    return forms, offers


def _form(
    reading: Reading,
    name: str,
    body: FormBody,
    offers: frozenset[str],
    root: FilePath,
    types: Mapping[str, CustomType] | None,
) -> Form:
    path: Path = ("forms", name)
    reading.known((*path, "offer"), body.offer, "offer", offers, none="there is none under 'offers'")
    for index, topic in enumerate(body.topics):
        none = "there is no [topics] in config.toml"
        reading.known((*path, "topics", index), topic, "topic", reading.names.topics, none=none)
    if body.confirm is not None:
        reading.template((*path, "confirm", "email"), body.confirm.email)
    if body.template is not None:
        _file(reading, (*path, "template"), root / "templates", body.template)
    return Form(
        name=name,
        title=body.title,
        promise=body.promise,
        fields=_fields(reading, (*path, "fields"), body, types),
        consents=_consents(reading, path, body),
        topics=tuple(body.topics),
        confirm=ConfirmMail(template=body.confirm.email, subject=body.confirm.subject) if body.confirm else None,
        button=body.button,
        offer=body.offer,
        double_opt_in=body.double_opt_in,
        channel=body.channel,
        campaign=body.campaign,
        funnel=body.funnel,
        tags=tuple(body.tags),
        partner=body.partner,
        redirect=body.redirect,
        template=body.template,
        locales={language: each.model_dump(exclude_none=True) for language, each in body.locales.items()},
    )


def _fields(
    reading: Reading, path: Path, body: FormBody, types: Mapping[str, CustomType] | None
) -> tuple[FormField, ...]:
    seen: set[str] = set()
    fields = []
    for index, each in enumerate(body.fields):
        place = (*path, index, "name") if reading.document.holds((*path, index, "name")) else (*path, index)
        if each.name in seen:
            reading.report(place, "duplicate-field", f"field '{each.name}' stands here twice")
        seen.add(each.name)
        fields.append(_form_field(reading, place, each, types))
    if "email" not in seen:
        reading.report(path, "no-email", "a form without the field 'email' makes no leads: add '- email'")
    return tuple(fields)


def _form_field(reading: Reading, place: Path, body: FieldBody, types: Mapping[str, CustomType] | None) -> FormField:
    kind, options = body.type, tuple(body.options or ())
    custom = body.name.startswith("custom.")
    declared = (types or {}).get(body.name.removeprefix("custom.")) if custom else None
    if custom:
        reading.known(place, body.name, "field", [body.name] if types is None or declared else map(_custom, types))
    else:
        reading.known(place, body.name, "field", [*FIELDS, *map(_custom, types or {})])
    if isinstance(declared, list):
        kind, options = kind or "select", options or tuple(declared)
    elif kind is None:
        kind = FIELDS.get(body.name) or _CUSTOM_KINDS.get(declared or "", "text")
    if kind in _CHOICES and not options:
        reading.report(place, "options", f"a {kind} field needs 'options: [first, second]'")
    return FormField(
        name=body.name,
        label=body.label or body.name.removeprefix("custom.").replace("_", " ").capitalize(),
        kind=kind,
        required=body.required,
        options=options,
        ask=body.ask,
    )


def _custom(name: str) -> str:
    return f"custom.{name}"


def _consents(reading: Reading, path: Path, body: FormBody) -> dict[str, ConsentBox]:
    boxes = {kind: ConsentBox(text=box.text, required=box.required) for kind, box in (body.consent or {}).items()}
    if body.tracking_consent is not None:
        boxes["tracking"] = ConsentBox(text=body.tracking_consent, required=False)
    if "email" not in boxes and body.offer is None:
        reading.report(
            path, "no-consent", "a form without 'consent' and without 'offer' gets nobody anything", at_key=True
        )
    return boxes


def _offer(reading: Reading, name: str, body: OfferBody, root: FilePath) -> Offer:
    path: Path = ("offers", name)
    reading.template((*path, "email"), body.email)
    given = [key for key in ("file", "url", "codes") if getattr(body, key) is not None]
    if len(given) != 1:
        found = " and ".join(f"'{key}'" for key in given) or "none"
        reading.report(path, "offer", f"an offer is one of 'file', 'url' and 'codes', found {found}", at_key=True)
    if body.file is not None:
        _file(reading, (*path, "file"), root, body.file)
    return Offer(name=name, kind=body.kind, file=body.file, url=body.url, email=body.email, subject=body.subject)


def _file(reading: Reading, path: Path, folder: FilePath, name: str) -> None:
    """The file must exist, inside of the folder."""
    try:
        inside = (folder / name).resolve()
        if not inside.is_relative_to(folder.resolve()):
            reading.report(path, "outside", f"'{name}' lies outside of the workspace")
        elif not inside.is_file():
            reading.report(path, "no-file", f"there is no file '{name}'")
    except (OSError, ValueError):  # too long, or with a NUL: no file system takes it
        reading.report(path, "no-file", f"'{name}' can't be the name of a file")
