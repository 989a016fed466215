"""Sample leads and spend for the demonstration: made up, with consent, the same for the same seed."""

from __future__ import annotations

import csv
import io
import random
from datetime import date, timedelta

FIRST = "Zoe Max Lena Tom Aisha Noah Mia Jonas Sofia Liam Emma Paul Nora Hugo Ines Omar Ella Finn Clara Adam".split()
LAST = "Berg Okafor Meier Dubois Rossi Novak Silva Larsen Brown Haas Moreau Costa Weber Jensen Fischer Roux".split()
COMPANIES = "Northwind Silverline Bergmann Helio Quarry Fennel Atlas Brightside Kestrel Lumen Oakley Vireo".split()
TITLES = ["Head of Marketing", "Marketing Manager", "Sales Director", "Growth Lead", "CFO", "Analyst", "Student", "CEO"]
PLACES = [
    ("United Kingdom", "Europe/London"),
    ("Germany", "Europe/Berlin"),
    ("France", "Europe/Paris"),
    ("United States", "America/New_York"),
    ("Austria", "Europe/Vienna"),
]
CHANNELS = [("content", "Reporting guide", "guide"), ("webinar", "Spring webinar", "guide"), ("search", "Brand", "")]
COLUMNS = (
    "Email,First Name,Last Name,Company Name,Job Title,Country/Region,Time Zone,Original Source,Campaign,Tags,"
    "Number of Employees,Marketing consent,Consent Date,Create Date"
).split(",")


def sample_leads(count: int, *, seed: int, day: date) -> str:
    """A CSV as a CRM exports it: `count` people who gave their consent in the two weeks before `day`."""
    rng = random.Random(f"leads:{seed}")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for number in range(count):
        first, last, company = rng.choice(FIRST), rng.choice(LAST), rng.choice(COMPANIES)
        country, zone = rng.choices(PLACES, weights=[5, 3, 2, 2, 1])[0]
        channel, campaign, tag = rng.choices(CHANNELS, weights=[5, 3, 2])[0]
        consent = day - timedelta(days=rng.randrange(1, 15))
        address = f"{first}.{last}.{number}@{company}.example".lower()
        size = rng.choice([3, 12, 40, 80, 250, 900])
        writer.writerow(
            [address, first, last, company, rng.choice(TITLES), country, zone, channel, campaign, tag, size, "Yes"]
            + [consent.isoformat()] * 2
        )
    return text.getvalue()


def sample_spend(day: date) -> str:
    """A CSV of what each channel cost in the month of `day`."""
    month = f"{day:%Y-%m}"
    lines = [f"{month},content,,1800,EUR", f"{month},webinar,,2400,EUR", f"{month},search,,3100,EUR"]
    return "\n".join(["month,channel,campaign,amount,currency", *lines, ""])
