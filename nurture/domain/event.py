"""An event is something that happened to a lead: appended, never changed. Its verdict says who caused it."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    HUMAN = "human"
    PROBABLE = "probable"
    MACHINE = "machine"


class EventName(StrEnum):
    """The names nurture itself gives meaning to; `track` may bring any other."""

    OPENED = "opened"
    CLICKED = "clicked"
    REPLIED = "replied"
    AUTO_REPLIED = "auto replied"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    FORM_SUBMITTED = "form submitted"
    PAGE_VIEWED = "page viewed"
    OFFER_DOWNLOADED = "offer downloaded"
    DEMO_REQUESTED = "demo requested"
    MEETING_BOOKED = "meeting booked"
    INFORMATION_REQUESTED = "information requested"
    TRIAL_STARTED = "trial started"
    WEBINAR_REGISTERED = "webinar registered"
    WEBINAR_ATTENDED = "webinar attended"
    WEBINAR_MISSED = "webinar missed"
    PRODUCT_ACTIVATED = "product activated"
    DEAL_OPENED = "deal opened"
    DEAL_WON = "deal won"
    DEAL_LOST = "deal lost"


# Written by nurture when it sends, so that `sent(...)` in conditions reads the messages, not events.
READER_EVENTS = (EventName.OPENED, EventName.CLICKED, EventName.REPLIED)
