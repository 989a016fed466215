"""The form of cadences/_forms.yaml: hosted forms, and the offers behind them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from nurture.authoring.cadence_file import Arms, Filled, Funnel
from nurture.documents.strict import Strict
from nurture.documents.values import Name, OrText, Text, WebLink


class FieldBody(Strict):
    name: Filled
    label: Filled | None = None
    type: Literal["text", "email", "number", "tel", "date", "select", "radio", "checkbox", "hidden"] | None = None
    required: bool = True
    options: Annotated[list[Filled], Field(min_length=1)] | None = None
    ask: Literal["always", "when_missing"] = "always"


def _field(value: Any) -> Any:
    """`- email` is short for `- {name: email}`."""
    return {"name": value} if isinstance(value, str) else value


FieldEntry = Annotated[FieldBody, BeforeValidator(_field), OrText()]


class ConsentBody(Strict):
    text: Filled
    required: bool = True


def _consent(value: Any) -> Any:
    """A text is consent by e-mail; under its channel a text is a box that must be ticked."""
    if isinstance(value, str):
        value = {"email": value}
    if not isinstance(value, dict):
        raise ValueError("consent is the text beside the box, or {email: TEXT, phone: TEXT}")
    return {kind: {"text": box} if isinstance(box, str) else box for kind, box in value.items()}


def _kinds(value: dict[str, Any]) -> dict[str, Any]:
    for kind in value:
        if kind not in ("email", "phone"):
            raise ValueError(f"'{kind}' is no kind of consent: use email or phone")
    return value


ConsentBox = Annotated[ConsentBody, OrText()]
Consents = Annotated[dict[str, ConsentBox], BeforeValidator(_consent), AfterValidator(_kinds), OrText()]


class ConfirmBody(Strict):
    email: Filled
    subject: Filled


class FormLocale(Strict):
    title: Filled | None = None
    promise: Filled | None = None
    button: Filled | None = None
    consent: Filled | None = None


class FormBody(Strict):
    title: Filled
    promise: Text = ""
    template: Filled | None = None
    fields: Annotated[list[FieldEntry], Field(min_length=1)]
    consent: Consents | None = None
    tracking_consent: Filled | None = None
    topics: list[Filled] = Field(default=[])
    confirm: ConfirmBody | None = None
    partner: Filled | None = None
    embed: bool = False
    locales: dict[str, FormLocale] = Field(default={})
    button: Filled = "Send"
    offer: Filled | None = None
    double_opt_in: bool = True
    channel: Filled | None = None
    campaign: Filled | None = None
    funnel: Funnel | None = None
    tags: list[Filled] = Field(default=[])
    variants: dict[Name, Arms] | None = None
    redirect: WebLink | None = None


class OfferBody(Strict):
    kind: Filled
    file: Filled | None = None
    url: WebLink | None = None
    codes: Filled | None = None
    email: Filled
    subject: Filled


class FormsFile(Strict):
    forms: dict[Name, FormBody] = Field(default={})
    offers: dict[Name, OfferBody] = Field(default={})
