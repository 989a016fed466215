# ruff: noqa: E501  a row of the tables is read across, like a line of a ledger
"""Seeded mistakes: each is found at its line and column, with its cure.

A row changes one file of the acceptance workspace. `‸` in the new text marks the place where the finding must stand.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nurture.authoring.check import check_workspace
from nurture.documents.finding import Finding

ACCEPTANCE = Path(__file__).parents[1] / "data" / "acceptance"
GUIDE, WELCOME = "cadences/guide-followup.yaml", "cadences/welcome.yaml"
CASE = "templates/email/case-study.mjml"
TEST, FORMS = "cadences/guide-followup.test.yaml", "cadences/_forms.yaml"
LIFECYCLE, SEGMENTS, CONFIG = "cadences/_lifecycle.yaml", "cadences/_segments.yaml", "config.toml"

# file, what is replaced (None: the whole text), by what, a piece of the message, the code
CADENCES = [
    (GUIDE, "segment:", "‸segmnt:", "unknown key 'segmnt': did you mean 'segment'?", "unknown-key"),
    (GUIDE, "- wait: 3 days", "- wait: ‸3 dayz", "wait '3 dayz' is no span: use e.g. '3 days'", "value"),
    (GUIDE, "- wait: 3 days", "- wait: ‸3", "wait '3': use e.g. '3 days'", "value"),
    (GUIDE, "- wait: 3 days", "- wait: ‸-3 days", "a wait is a positive number", "value"),
    (GUIDE, "- wait: 3 days", "- ‸wiat: 3 days", "unknown step 'wiat': did you mean 'wait'?", "unknown-step"),
    (GUIDE, "- wait: 3 days", "- wait: 3 days\n    ‸notify: sales", "a step does one thing, found 'wait' and 'notify'", "step"),
    (GUIDE, "- wait: 3 days", "- ‸wait 3 days", "a step is a mapping", "step"),
    (GUIDE, "- wait: 3 days", "- wait: 3 days\n    ‸untill: x", "unknown key 'untill'", "unknown-key"),
    (GUIDE, "- wait: 3 days", "- wait_for: clicked(step=\"intro\")\n    up_to: ‸soon", "up_to 'soon' is no span", "value"),
    (GUIDE, "- wait: 3 days", "- ‸wait_for: clicked(step=\"intro\")", "missing key 'up_to'", "missing-key"),
    (GUIDE, "- email: guide-followup", "- email: ‸guide-folowup", "unknown template 'guide-folowup': did you mean 'guide-followup'?", "unknown-template"),
    (GUIDE, "    id: case\n", "    id: ‸intro\n", "duplicate id 'intro' (first in line 11)", "duplicate-id"),
    (GUIDE, "    id: case\n", "    id: ‸Case Study\n", "'Case Study' is no name: use a to z", "value"),
    (GUIDE, "      - email: case-study\n        id: case\n", "      - ‸email: case-study\n", "a step that sends needs an id", "missing-id"),
    (GUIDE, "id: intro\n    subject:", "id: intro\n    ‸subjet:", "unknown key 'subjet': did you mean 'subject'?", "unknown-key"),
    (GUIDE, "- email: guide-followup\n    id: intro\n    subject:", "- ‸email: guide-followup\n    id: intro\n    subjects:", "missing key 'subject'", "missing-key"),
    (GUIDE, "preheader: One minute, three numbers", "preheader: ‸3", "preheader: found the number 3, want text (put it in quotes)", "type"),
    (GUIDE, "{metric: click, send: expected_loss", "{metric: click, send: ‸expected_los", "did you mean 'expected_loss'?", "value"),
    (GUIDE, "subject: \"Too busy? The guide in 60 seconds\"", "subject: x\n        ‸test: {metric: click}", "a test needs several subjects", "test"),
    (GUIDE, "      question: \"", "      ‸Big Question: \"", "'Big Question' is no name", "name"),
    (GUIDE, "then:\n      - email: case-study", "then: ‸[]\n  - if: clicked(step=\"intro\")\n    then:\n      - email: case-study", "then: is empty", "value"),
    (GUIDE, "clicked(step=\"intro\")", "clicked(step=‸\"intr\")", "'intro'", "condition"),
    (GUIDE, "if: score >= 40", "if: ‸scoer >= 40", "score", "condition"),
    (GUIDE, "if: score >= 40", "if: 'score >= ‸\"a\"'", "", "condition"),
    (GUIDE, "segment: guide_readers", "segment: ‸guide_reader", "unknown segment 'guide_reader': did you mean 'guide_readers'?", "unknown-segment"),
    (GUIDE, "segment: guide_readers", "‸segment:", "'segment' has no value", "no-value"),
    (GUIDE, "when: clicked(step=\"case\")", "‸when:", "'when' has no value", "no-value"),
    (GUIDE, "- promote: mql", "- promote: ‸mqll", "unknown stage 'mqll': did you mean 'mql'?", "unknown-stage"),
    (GUIDE, "- notify: sales", "- notify: ‸sale", "unknown rep 'sale': did you mean 'sales'?", "unknown-rep"),
    (GUIDE, "priority: 50", "priority: ‸high", "priority: found the text 'high', want a whole number", "type"),
    (GUIDE, "priority: 50", "priority: ‸\"50\"", "want a whole number", "type"),
    (GUIDE, "priority: 50", "concurrent: ‸yes", "want true or false ('yes' is text in YAML 1.2)", "type"),
    (GUIDE, "priority: 50", "status: ‸alive", "status: found the text 'alive': did you mean 'live'?", "value"),
    (GUIDE, "priority: 50", "sender: ‸ana", "unknown sender 'ana': did you mean 'anna'?", "unknown-sender"),
    (GUIDE, "priority: 50", "topic: ‸product", "unknown topic 'product': there is no [topics] in config.toml", "unknown-topic"),
    (GUIDE, "priority: 50", "max_late: ‸-2 days", "max_late '-2 days' is negative", "value"),
    (GUIDE, "priority: 50", "max_late: ‸99999999999 days", "is longer than 100 years", "value"),
    (GUIDE, "priority: 50", "priority: ‸9999999999", "want at most 1000000", "value"),
    (GUIDE, "- wait: 3 days", "- wait: ‸99999999999 business days", "is longer than 100 years", "value"),
    (GUIDE, "priority: 50", "max_late: ‸late", "max_late 'late' is no duration", "value"),
    (GUIDE, "priority: 50", "window: {hours: ‸\"9-17\"}", "'9' is no time of day", "window"),
    (GUIDE, "priority: 50", "window: {‸hour: \"09:00-17:00\"}", "unknown key 'hour': did you mean 'hours'?", "unknown-key"),
    (GUIDE, "priority: 50", "window: {days: ‸weekdays}", "are no days", "window"),
    (GUIDE, "priority: 50", "window: {hours: ‸\"09:00-09:00\"}", "never opens", "window"),
    (GUIDE, "priority: 50", "window: {timezone: ‸Europe/Berlinn}", "unknown time zone 'Europe/Berlinn'", "window"),
    (GUIDE, "priority: 50", "priority: 50\n‸priority: 60", "duplicate key 'priority' (first in line 6)", "duplicate-key"),
    (GUIDE, "preheader: One minute, three numbers", "preheader: ‸{{ lead.first_name }}", "needs quotes", "quotes"),
    (GUIDE, "preheader: One minute, three numbers", "preheader: One minute‸: three numbers", "put the whole value in quotes", "quotes"),
    (GUIDE, "preheader: One minute, three numbers", "preheader: ‸&x One minute", "anchors are not read", "anchor"),
    (GUIDE, "preheader: One minute, three numbers", "preheader: ‸*x", "write the value out", "alias"),
    (GUIDE, "preheader: One minute, three numbers", "preheader: ‸!fancy One minute", "tags are not read", "tag"),
    (GUIDE, "preheader: One minute, three numbers", "preheader: \"One minute", "is a quote open above", "syntax"),
    (WELCOME, "\"Three things to try first\"", "‸\"Three things to try first", "a quote that is opened here is not closed", "quotes"),
    (GUIDE, "    preheader: One minute", "‸\tpreheader: One minute", "a tab: YAML is indented with spaces", "tab"),
    (WELCOME, None, "‸", "found nothing, want a mapping", "type"),
    (WELCOME, None, "name: Welcome\nsteps: ‸[]\n", "steps: is empty", "value"),
    (WELCOME, None, "‸name: Welcome\n", "missing key 'steps'", "missing-key"),
    (WELCOME, None, "a: 1\n‸---\nb: 1\n", "one document a file", "documents"),
    (WELCOME, None, "a: " + "[" * 49 + "‸[" + "]" * 50 + "\n", "more than 50 levels", "too-deep"),
    (GUIDE, "preheader: One minute", "preheader: One‸\x07 minute", "a control character that YAML forbids", "control-character"),
    (GUIDE, "- wait: 3 days", "- ‸[a]: b", "a key is a text: put it in quotes", "key"),
    (GUIDE, "test: {metric", "attachments: [‸offers/nothing.pdf]\n    test: {metric", "there is no file 'offers/nothing.pdf' to attach", "attachment"),
    (GUIDE, "test: {metric", "attachments: [offers/reporting-guide.pdf, ‸config.toml]\n    test: {metric", "only files of assets, offers, templates can be attached", "attachment"),
    (GUIDE, "test: {metric", "‸attachments: [offers/reporting-guide.pdf, offers/reporting-guide.pdf]\n    test: {metric", "two attachments are named", "attachment"),
    (GUIDE, "priority: 50", "max_late: ‸0 days", "nothing is ever sent at the very second", "max-late"),
    (GUIDE, "        subject: \"Too busy", "        max_late: ‸0 minutes\n        subject: \"Too busy", "nothing is ever sent at the very second", "max-late"),
    (GUIDE, "test: {metric", "expires: {at: created_at, offset: ‸-1 day}\n    test: {metric", "it expires 24 hours before created_at, and the mail goes at created_at or later: it is never sent", "expires"),
    (GUIDE, "        subject: \"Too busy", "        expires: {at: created_at, offset: ‸2 days}\n        subject: \"Too busy", "expires 2 days after created_at, and the mail goes 3 days after created_at or later", "expires"),
    (GUIDE, "- wait: 3 days", "- {wait_until: custom.ends, offset: 1 day}\n  - {email: case-study, id: late, subject: x, expires: ‸{at: custom.ends}}", "expires at custom.ends, and the mail goes 24 hours after custom.ends or later", "expires"),
    (GUIDE, "- wait: 3 days", "- task: Call {{ ‸lead.frist_name }}", "first_name", "template"),
    (GUIDE, "test: {metric", "vars: {hero: \"{{ ‸lead.frist_name }}\"}\n    test: {metric", "first_name", "template"),
    (GUIDE, "test: {metric", "locales: {de: {subject: \"Hallo {{ ‸lead.frist_name }}\"}}\n    test: {metric", "first_name", "template"),
    (GUIDE, "preheader: One minute, three numbers", "preheader: ‸\"{{ event.title }}\"", "event.title is missing", "render"),
]  # fmt: skip

OTHERS = [
    (SEGMENTS, "country in [\"DE\"", "country in [‸5", "", "condition"),
    (SEGMENTS, "dach: country", "dach: ‸contry", "country", "condition"),
    (SEGMENTS, "  dach:", "  ‸DACH region:", "'DACH region' is no name", "name"),
    (SEGMENTS, "segments:", "‸segment:", "unknown key 'segment': did you mean 'segments'?", "unknown-key"),
    (LIFECYCLE, "  - pql:", "  - ‸pqll:", "unknown stage 'pqll': did you mean 'pql'?", "unknown-stage"),
    (LIFECYCLE, "demote_when: score", "demote_when: ‸scor", "score", "condition"),
    (LIFECYCLE, "      demote_when: score < 35\n", "", "'demote_after' needs a 'demote_when'", "demote-after"),
    (LIFECYCLE, "half_life: 14 days", "half_life: ‸14 daze", "half_life '14 daze' is no duration", "value"),
    (LIFECYCLE, "half_life: 14 days", "half_life: ‸0 days", "is no time at all", "value"),
    (LIFECYCLE, "cap: 60", "cap: ‸1e999", "want a number that ends", "value"),
    (LIFECYCLE, "at_most: 60 per week", "at_most: ‸60 a week", "use e.g. '60 per week'", "value"),
    (LIFECYCLE, "points: 15}\n  - {when: 'contains(title, \"m", "points: ‸many}\n  - {when: 'contains(title, \"m", "found the text 'many', want a number", "type"),
    (LIFECYCLE, "in_segment(\"dach\")", "in_segment(‸\"dch\")", "dach", "condition"),
    (LIFECYCLE, "fit: B", "fit: ‸E", "fit: found the text 'E'", "value"),
    (LIFECYCLE, "channels: [email]", "channels: [‸emial]", "unknown channel 'emial': did you mean 'email'?", "unknown-channel"),
    (LIFECYCLE, "reps: [ben, chloe]", "reps: [ben, ‸cloe]", "unknown rep 'cloe': did you mean 'chloe'?", "unknown-rep"),
    (LIFECYCLE, "timezone: rep}", "timezone: ‸rap}", "unknown time zone 'rap'", "window"),
    (LIFECYCLE, "  - lead\n  - mql:", "  - mql\n  - ‸lead\n  - pql:", "stage 'lead' comes too late", "stage-order"),
    (FORMS, "name: company", "name: ‸compny", "unknown field 'compny': did you mean 'company'?", "unknown-field"),
    (FORMS, "offer: reporting-guide", "offer: ‸reporting-gide", "unknown offer 'reporting-gide': did you mean 'reporting-guide'?", "unknown-offer"),
    (FORMS, "file: offers/reporting-guide.pdf", "file: ‸offers/guide.pdf", "there is no file 'offers/guide.pdf'", "no-file"),
    (FORMS, "file: offers/reporting-guide.pdf", "file: ‸../../secret", "lies outside of the workspace", "outside"),
    (FORMS, "email: guide-delivery", "email: ‸guide-delivry", "did you mean 'guide-delivery'?", "unknown-template"),
    (FORMS, "type: number", "type: ‸numbr", "did you mean 'number'?", "value"),
    (FORMS, "      - email\n", "", "add '- email'", "no-email"),
    (FORMS, "double_opt_in: true", "double_opt_in: ‸on", "want true or false", "type"),
    (FORMS, "double_opt_in: true", "‸embed: true", "'embed': this version of nurture does not run it", "not-yet"),
    (FORMS, "  reporting-guide:\n", "  ‸reporting-guide:\n    url: https://x.example/\n", "found 'file' and 'url'", "offer"),
    (TEST, "clicked: intro", "clicked: ‸intr", "unknown step 'intr': did you mean 'intro'?", "unknown-step"),
    (TEST, "{at: 1 day, clicked", "{at: ‸one day, clicked", "use an offset from the start", "value"),
    (TEST, "start: 2026-11-02 10:00", "start: ‸2026-13-02 10:00", "in no calendar", "value"),
    (TEST, "start: 2026-11-02 10:00", "start: ‸10:00", "is no moment", "value"),
    (TEST, "promote: mql}", "‸promot: mql}", "unknown key 'promot': did you mean 'promote'?", "unknown-key"),
    (TEST, "email: intro}\n      - {at: 2026-11-05", "email: intro, variant: ‸nmber}\n      - {at: 2026-11-05", "did you mean 'number'?", "unknown-variant"),
    (TEST, "- {completed: true}", "- {completed: true, ‸done: true}", "unknown key 'done'", "unknown-key"),
    (TEST, "- {at: 1 day, clicked: intro}", "- ‸{at: 1 day}", "an entry is one of opened, clicked", "test"),
    (TEST, "{email: zoe@example.com, ", "‸{", "missing key 'email': a lead has an address", "missing-key"),
    (LIFECYCLE, "  - lead\n  - mql:", "  - lead\n  - ‸lead\n  - mql:", "stage 'lead' stands here twice", "duplicate-stage"),
    (FORMS, "      - email\n", "      - email\n      - ‸email\n", "field 'email' stands here twice", "duplicate-field"),
    (FORMS, "{name: company, label: Company", "{name: ‸company, type: select, label: Company", "a select field needs 'options: [first, second]'", "options"),
    (FORMS, "    consent: \"Send me the guide and up to three mails a week about reporting. I can leave at any time.\"\n    button: Send me the guide\n    offer: reporting-guide\n", "", "a form without 'consent' and without 'offer'", "no-consent"),
    (TEST, "- name: a demo request ends it as a success", "- name: ‸a reader who clicks gets the case study and is promoted", "a test of this name stands in line 2", "duplicate-test"),
    (TEST, "first_name: Zoe", "fit: ‸E", "unknown fit 'E'", "lead"),
]  # fmt: skip

COPY = [
    (CASE, "href=\"https://www.acme.example/case-study\"", "‸href=\"#\"", "a link goes nowhere", "empty-link"),
    (CASE, "<mj-text>Or look", "<mj-text>" + "Many words. " * 9_000 + "</mj-text><mj-text>Or look", "Gmail clips at 102 KB", "clipped"),
    (CASE, "href=\"https://www.acme.example/case-study\"", "href=\"‸data:text/html,x\"", "a link goes to \"data:text/html,x\"; write a whole http(s) address", "template"),
    (CASE, "Or look", "{{ ‸offer_url }} Or look", "offer_url is missing and has no default", "render"),
    (CASE, "Hello {{ lead.first_name", "Hello {{ ‸lead.frist_name", "first_name", "template"),
]  # fmt: skip

SETTINGS = [
    (CONFIG, "[senders.anna]", "[esp.a]\nprovider = \"ses\"\napi_key = \"env:KEY\"\n‸stream = \"x\"\n[senders.anna]", "'stream' means nothing to ses", "esp-stream"),
    (CONFIG, "[senders.anna]", "[esp.a]\nprovider = \"brevo\"\napi_key = \"env:KEY\"\nurl = ‸\"http://api.example.com\"\n[senders.anna]", "url would carry the key in the clear", "esp-url"),
    (CONFIG, "[senders.anna]", "[domains.‸\"gmail\"]\nconnections = 1\n[senders.anna]", "'gmail' is no domain that mail goes to", "name"),
    (CONFIG, "[senders.anna]", "[domains.\"münchen.example\"]\nconnections = 1\n[domains.‸\"XN--mnchen-3ya.example\"]\nconnections = 2\n[senders.anna]", "is the same domain as 'münchen.example'", "duplicate-key"),
    (CONFIG, "reply_to = \"anna@acme.example\"", "reply_to = ‸\"anna@-münchen.example\"", "has no valid domain", "render"),
    (CONFIG, "name = \"Acme", "‸nam = \"Acme", "unknown key 'nam': did you mean 'name'?", "unknown-key"),
    (CONFIG, "name = \"Acme Analytics\"\n", "", "missing key 'name'", "missing-key"),
    (CONFIG, "\"http://127.0.0.1:8080\"", "‸\"127.0.0.1:8080\"", "is no web address", "value"),
    (CONFIG, "timezone = \"Europe/Berlin\"\nlanguage", "timezone = ‸\"Berlin\"\nlanguage", "unknown time zone 'Berlin'", "value"),
    (CONFIG, "\"env:NURTURE_SECRET_KEY\"", "‸\"hunter2\"", "a secret is never written here", "value"),
    (CONFIG, "\"sqlite:///nurture.db\"", "‸\"mysql://root:geheim@db/x\"", "is no database: use sqlite:///FILE", "value"),
    (CONFIG, "public = \"127.0.0.1:8080\"", "public = ‸\"8080\"", "use HOST:PORT", "value"),
    (CONFIG, "private = \"127.0.0.1:8081\"", "private = ‸\"0.0.0.0:8081\"", "can be reached from other machines", "value"),
    (CONFIG, "port = 2525", "port = ‸\"2525\"", "port: found the text '2525', want a whole number", "type"),
    (CONFIG, "port = 2525", "port = ‸99999", "want at most 65535", "value"),
    (CONFIG, "port = 2525", "‸prot = 2525", "unknown key 'prot': did you mean 'port'?", "unknown-key"),
    (CONFIG, "security = \"none\"", "security = ‸\"ssl\"", "security: found the text 'ssl': use one of", "value"),
    (CONFIG, "connections = 8", "rate = ‸\"50 a second\"", "rate '50 a second' is no rate", "value"),
    (CONFIG, "\"Anna Meier <anna@acme.example>\"", "‸\"Anna Meier\"", "is no mailbox", "value"),
    (CONFIG, "\"Anna Meier <anna@acme.example>\"", "‸\"Anna\\r\\nBcc: x@y.example <anna@acme.example>\"", "without control or invisible characters", "value"),
    (CONFIG, "\"Anna Meier <anna@acme.example>\"", "‸\"=?utf-8?q?a=0D=0ABcc=3A_x=40y?= <anna@acme.example>\"", "'=?' is not allowed", "value"),
    (CONFIG, "smtp = \"primary\"", "smtp = ‸\"primry\"", "unknown smtp 'primry': did you mean 'primary'?", "unknown-smtp"),
    (CONFIG, "weight = 2", "weight = ‸-2", "weight: found the number -2, want at least 0", "value"),
    (CONFIG, "weight = 2", "weight = 2\naway = [‸\"2026-12-24 till 2027-01-02\"]", "is no day", "value"),
    (CONFIG, "weight = 2", "weight = 2\nsender = ‸\"bob\"", "unknown sender 'bob': use one of anna", "unknown-sender"),
    (CONFIG, "\"3 per 7 days\"", "‸\"3 in 7 days\"", "is no cap: use e.g. '1 per day'", "value"),
    (CONFIG, "\"3 per 7 days\"", "‸\"3 per 0 days\"", "a stretch of nothing", "value"),
    (CONFIG, "weight = 2", "weight = ‸inf", "want a number that ends", "value"),
    (CONFIG, "sender = \"anna\"", "sender = ‸\"ana\"", "unknown sender 'ana': did you mean 'anna'?", "unknown-sender"),
    (CONFIG, "holidays = \"lead\" }", "holidays = ‸\"yes\" }", "use 'lead' or 'none'", "window"),
    (CONFIG, "hours = \"09:00-17:00\"", "‸hour = \"09:00-17:00\"", "unknown key 'hour': did you mean 'hours'?", "unknown-key"),
    (CONFIG, "[limits]", "[‸limit]", "unknown key 'limit': did you mean 'limits'?", "unknown-key"),
    (CONFIG, "[limits]", "[goals]\nmql = ‸\"many\"\n[limits]", "'many' is no goal", "value"),
    (CONFIG, "[limits]", "[goals]\n‸mqql = \"4 per month\"\n[limits]", "unknown stage 'mqql': did you mean 'mql'?", "unknown-stage"),
    (CONFIG, "[limits]", "[fields]\nplan = ‸\"txt\"\n[limits]", "plan", "value"),
    (CONFIG, "[limits]", "[holidays]\nextra = [‸2026-12-24]\n[limits]", "want text (put it in quotes)", "type"),
    (CONFIG, "language = \"en\"", "language = ‸en", "not valid TOML", "syntax"),
    (CONFIG, "language = \"en\"", "country = ‸\"Germany\"", "use two capitals", "value"),
    (CONFIG, "[limits]", "[consent.‸Canada]\ninquiry = \"6 months\"\n[limits]", "'Canada' is no country: use two capitals", "country"),
    (CONFIG, "smtp = \"primary\"", "esp = ‸\"sg\"", "unknown esp 'sg'", "unknown-esp"),
    (CONFIG, "[limits]", "[alerts.‸ben]\nkind = \"slack\"\nurl = \"env:X\"\n[limits]", "a channel cannot be called 'ben'", "channel-name"),
    (CONFIG, "[limits]", "[alerts.x]\nkind = \"slack\"\nurl = \"env:X\"\n‸secret = \"env:Y\"\n[limits]", "its url is the secret", "channel-secret"),
    (CONFIG, "[limits]", "[alerts.x]\nkind = \"webhook\"\nurl = ‸\"http://crm.example/\"\n[limits]", "in the clear: use https", "channel-url"),
]  # fmt: skip

WARNINGS = [
    (GUIDE, "preheader: One minute, three numbers", "preheader: ‸Guide #1 for you", "the value ends before '#1 for you'", "cut-value"),
    (GUIDE, "preheader: One minute, three numbers", "preheader: ‸Guide # for you", "the value ends before '# for you'", "cut-value"),
    (GUIDE, "- wait: 4 days", "- exit: done\n  - ‸wait: 4 days", "nobody comes to this step", "unreachable"),
    (GUIDE, "preheader: One minute, three numbers", "role: ‸offer", "an offer before any proof", "offer-before-proof"),
    (GUIDE, "subject: \"Too busy? The guide in 60 seconds\"", "subject: ‸\"" + "Too long " * 8 + "\"", "phones show about 60", "long-subject"),
    (GUIDE, "subject: \"Too busy? The guide in 60 seconds\"", "subject: ‸\"BUY NOW AND SAVE\"", "the subject shouts", "shouting"),
    (FORMS, "subject: Here is", "subject: ‸Read me!! Here is", "the subject shouts", "shouting"),
    (CASE, "<mj-text>Or look", "<mj-button href=\"https://www.acme.example/b\">‸Or ask us</mj-button><mj-text>Or look", "2 buttons (\"Read the case\", \"Or ask us\")", "several-buttons"),
    (CASE, "<mj-text>Or look", "<mj-image src=\"‸https://www.acme.example/team.png\" /><mj-text>Or look", "no alt text", "no-alt"),
    (CASE, "https://www.acme.example/case-study", "‸https://bit.ly/x", "filters distrust shortened links", "shortened-link"),
    (CASE, "<mj-text>Or look", "<mj-text>" + "Many words. " * 7_500 + "</mj-text><mj-text>Or look", "Gmail clips at 102 KB", "clipped"),
    (WELCOME, "segment: stage == \"lead\" and not tag(\"guide\")\nenroll: current_and_future\npriority: 10", "segment: ‸guide_readers\npriority: 50", "as cadence 'guide-followup'", "rivals"),
    (CONFIG, "\"http://127.0.0.1:8080\"", "‸\"http://mail.acme.example\"", "use https", "plain-http"),
    (CONFIG, "host = \"127.0.0.1\"\nport = 2525\nsecurity = ", "host = \"mx.acme.example\"\nsecurity = ‸", "would go in the clear", "plain-smtp"),
    (CONFIG, "\"Anna Meier <anna@acme.example>\"", "‸\"Anna Meier <anna.meier@gmail.com>\"", "fails DMARC", "freemail"),
    (CONFIG, "smtp = \"primary\"", "smtp = \"primary\"\n‸tracking_domain = \"go.acme.example\"", "'senders.anna.tracking_domain' is read and checked", "not-acting"),
    (CONFIG, "[limits]", "[‸hooks.sg]\nprovider = \"sendgrid\"\n[limits]", "'hooks' is read and checked", "not-acting"),
    (CASE, "Or look", "{{ ‸lead.title }}: or look", "lead.title is missing from some leads", "no-default"),
    (CASE, "Or look", "<a href=\"‸https://www.acme.example/b\"></a>Or look", "shows nothing to click on", "link-without-text"),
    (GUIDE, "message: \"{{ lead.first_name | default(lead.email) }} read", "message: ‸\"{{ lead.company }} read", "lead.company is missing from some leads", "no-default"),
    (GUIDE, "test: {metric", "locales: {de: {subject: ‸\"JETZT KAUFEN UND SPAREN\"}}\n    test: {metric", "the subject shouts", "shouting"),
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("config.toml", "cadences", "templates", "offers"):
        source = ACCEPTANCE / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name)
        else:
            shutil.copy(source, tmp_path / name)
    return tmp_path


def seed(root: Path, file: str, old: str | None, new: str) -> tuple[int, int] | None:
    """Make the mistake. Returns the place of the caret, if there is one."""
    path = root / file
    text = path.read_text(encoding="utf-8")
    if old is not None:
        assert old in text, "the row no longer fits the workspace"
    changed = new if old is None else text.replace(old, new, 1)
    place = changed.find("‸")
    path.write_text(changed.replace("‸", ""), encoding="utf-8")
    if place < 0:
        return None
    return changed.count("\n", 0, place) + 1, place - changed.rfind("\n", 0, place)


def about(findings: tuple[Finding, ...], file: str, level: str, message: str) -> list[Finding]:
    return [each for each in findings if each.file == file and each.level == level and message in each.message]


@pytest.mark.parametrize(("file", "old", "new", "message", "code"), [*CADENCES, *OTHERS, *COPY, *SETTINGS])
def test_an_error_stands_where_it_was_made(
    root: Path, file: str, old: str | None, new: str, message: str, code: str
) -> None:
    place = seed(root, file, old, new)
    findings = check_workspace(root).findings
    found = [each for each in about(findings, file, "error", message) if each.code == code]
    assert found, [str(each) for each in findings]
    if place is not None:
        assert place in [(each.line, each.column) for each in found], [str(each) for each in found]
    assert all("\n" not in str(each) for each in findings)


@pytest.mark.parametrize(("file", "old", "new", "message", "code"), WARNINGS)
def test_a_warning_stands_where_it_was_made(
    root: Path, file: str, old: str | None, new: str, message: str, code: str
) -> None:
    place = seed(root, file, old, new)
    findings = check_workspace(root).findings
    found = about(findings, file, "warning", message)
    assert [(each.line, each.column, each.code) for each in found] == [(*(place or (1, 1)), code)], findings
    assert not [each for each in findings if each.level == "error"]


def test_a_mistake_shows_no_password(root: Path) -> None:
    seed(root, CONFIG, '"sqlite:///nurture.db"', '"mysql://root:geheim@db/x"')
    seed(root, CONFIG, '"env:NURTURE_SECRET_KEY"', '"hunter2"')
    said = "\n".join(map(str, check_workspace(root).findings))
    assert "geheim" not in said
    assert "hunter2" not in said


def test_unreadable_files_are_findings(root: Path) -> None:
    (root / WELCOME).write_bytes(b"name: Gr\xfc\xdfe\n")
    (root / "cadences/big.yaml").write_text("# " + "x" * (1024 * 1024))
    (root / "cadences/_segment.yaml").write_text("segments: {}\n")
    (root / "cadences/other.yml").write_text("steps: []\n")
    (root / "cadences/nothing.test.yaml").write_text("tests: []\n")
    (root / "cadences/two words.yaml").write_text("steps: [{tag: x}]\n")
    lines = {f"{each.file}:{each.line}:{each.column} {each.message}" for each in check_workspace(root).findings}
    for expected in (
        "cadences/welcome.yaml:1:9 byte 0xFC is not UTF-8: save the file as UTF-8",
        "cadences/big.yaml:1:1 larger than 1 MiB: split it",
        "cadences/_segment.yaml:1:1 unknown file '_segment.yaml': did you mean '_segments.yaml'?",
        "cadences/other.yml:1:1 'other.yml': rename it to 'other.yaml'",
        "cadences/two words.yaml:1:1 'two words' is no name of a cadence: use a to z, 0 to 9, '_' and '-'",
    ):
        assert expected in lines, sorted(lines)
    assert any(line.startswith("cadences/nothing.test.yaml:1:1 tests of no cadence") for line in lines)


def test_segments_that_go_round_in_a_circle_are_an_error(root: Path) -> None:
    (root / SEGMENTS).write_text('segments:\n  a: in_segment("b")\n  b: in_segment("a")\n')
    findings = check_workspace(root).findings
    assert {each.line for each in findings if each.file == SEGMENTS and each.level == "error"} == {2, 3}


def test_marketing_mail_without_a_way_out_or_an_address_is_an_error(root: Path) -> None:
    (root / "templates/email/_footer.mjml").write_text("<mj-section><mj-column /></mj-section>\n")
    codes = {(each.file, each.code) for each in check_workspace(root).findings if each.level == "error"}
    assert ("templates/email/welcome.mjml", "no-unsubscribe") in codes
    assert ("templates/email/welcome.mjml", "no-postal-address") in codes
    assert ("templates/email/guide-delivery.mjml", "no-unsubscribe") not in codes
