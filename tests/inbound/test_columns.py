"""Headers of the systems that lists come from find their field by themselves; --map and custom fields take the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from nurture.domain.problem import Problem
from nurture.inbound.columns import map_columns


def targets(headers: Sequence[str], given: Mapping[str, str] | None = None) -> list[str]:
    return [column.target for column in map_columns(headers, given or {})]


def test_hubspot() -> None:
    assert targets(
        [
            "Record ID",
            "First Name",
            "Email",
            "Company Name",
            "Job Title",
            "Country/Region",
            "Lifecycle Stage",
            "Original Source",
            "Contact owner",
            "Tags",
            "Number of Employees",
            "Plan",
            "Marketing consent",
            "Create Date",
            "Unsubscribed from all email",
            "Opted out of email: Product news",
            "Email hard bounce reason",
        ]
    ) == [
        *("external_id", "first_name", "email", "company", "title", "country", "stage"),
        *("channel", "owner", "tags", "custom.employees", "custom.plan", "consent"),
        *("created_at", "opt_out", "opt_out", "bounced"),
    ]


def test_salesforce() -> None:
    assert targets(
        [
            "Lead ID",
            "FirstName",
            "LastName",
            "Email",
            "Company",
            "Title",
            "Lead Source",
            "Email Opt Out",
            "HasOptedOutOfEmail",
            "Lead Owner",
            "Created Date",
            "EmailBouncedDate",
        ]
    ) == [
        *("external_id", "first_name", "last_name", "email", "company", "title", "channel", "opt_out"),
        *("opt_out", "owner", "created_at", "bounced"),
    ]


def test_mailchimp() -> None:
    assert targets(
        ["Email Address", "First Name", "TAGS", "OPTIN_TIME", "UNSUB_TIME", "CLEAN_TIME", "MEMBER_RATING"]
    ) == [*("email", "first_name", "tags", "consent_at", "opt_out", "bounced", "custom.member_rating")]


def test_case_blanks_accents_and_signs_make_no_difference() -> None:
    assert targets(["E-MAIL", " first_name ", "Prénom", "COUNTRY  REGION"]) == [
        *("email", "first_name", "custom.prenom", "country")
    ]


def test_every_other_column_is_a_custom_field_that_a_condition_can_name() -> None:
    headers = ["Email", "Favourite Café", "Favourite café", "2nd choice", "class", "会社", "", "x" * 300]
    assert targets(headers) == [
        *("email", "custom.favourite_cafe", "custom.favourite_cafe_2", "custom._2nd_choice", "custom.class_"),
        *("custom.column_6", "custom.column_7", "custom." + "x" * 56),
    ]


def test_the_first_of_two_columns_for_a_field_is_it() -> None:
    assert targets(["Work email", "Email", "Phone", "Phone number"]) == [
        *("email", "custom.email", "phone", "custom.phone_number")
    ]


def test_map_goes_before_what_a_header_says() -> None:
    headers = ["Email", "Mail 2", "Plan", "Notes"]
    given = {"mail 2": "email", "Plan": "custom.tier", "Notes": "ignore"}
    assert targets(headers, given) == ["custom.email", "email", "custom.tier", "ignore"]


@pytest.mark.parametrize(
    ("headers", "given", "told"),
    [
        (["Name", "Phone"], {}, "no column holds the e-mail address: found 'Name', 'Phone'; name it with --map"),
        (["Email"], {"Emial": "email"}, "no column 'Emial': did you mean 'Email'"),
        (["Email", "A"], {"A": "first_nam"}, "unknown field 'first_nam': did you mean 'first_name'"),
        (["Email", "A"], {"A": "custom.No Good"}, "unknown field"),
        (["A", "B"], {"A": "email", "B": "email"}, "another column is mapped to email"),
        (["Email", *(f"c{n}" for n in range(600))], {}, "600 columns would become custom fields"),
    ],
)
def test_a_mistake_is_told_with_its_cure(headers: list[str], given: dict[str, str], told: str) -> None:
    with pytest.raises(Problem) as caught:
        map_columns(headers, given)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
