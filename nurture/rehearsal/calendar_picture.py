"""A simulation as a page to look at: mails by day and hour, and the path of leads through each cadence's steps.

One file of HTML and SVG, without scripts and without anything from elsewhere. All text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from html import escape
from importlib.resources import files as package_files
from math import ceil, sqrt

from nurture.authoring.workspace import Workspace
from nurture.domain.cadence import (
    Branch,
    Cadence,
    Email,
    EnrollIn,
    Exit,
    Goto,
    Notify,
    Promote,
    SetFields,
    Split,
    Step,
    Sunset,
    Tag,
    Task,
    Untag,
    Wait,
    WaitFor,
    WaitUntil,
    Webhook,
)
from nurture.domain.spans import say_span
from nurture.domain.stages import Stage
from nurture.rehearsal.behaviour import RATES, Rates
from nurture.rehearsal.findings import (
    COMPLETED,
    ENDS,
    ENTERED,
    MOST_TIMES,
    UNDER_WAY,
    Findings,
    RunFindings,
    Spread,
    StepNumbers,
)
from nurture.rehearsal.flow_picture import Caption, draw_flow

LEVELS = 6
"""Shades of the heat map."""
_NONE = StepNumbers(exited={})


def draw(findings: Findings, workspace: Workspace, rates: Rates = RATES) -> str:
    """The page."""
    style = (package_files("nurture.rehearsal") / "calendar_picture.css").read_text(encoding="utf-8")
    name = workspace.settings.workspace.name
    title = f"{name}: {_stretch(findings.dates)}"
    runs = len(findings.runs)
    played = f"{runs} {'runs' if runs > 1 else 'run'} of seed {findings.seed}"
    told = f"{findings.leads:,} leads · {findings.days} days · {played}"
    middle = findings.runs[findings.middle]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">"""
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        f'<header><p class="over">{escape(name)}, simulated</p><h1>{_stretch(findings.dates)}</h1>'
        f'<p class="sub">{told}</p></header><main>'
        f"{_figures(findings, workspace)}{_calendar(findings, middle)}{_paths(findings, middle, workspace)}"
        f"{_assumed(rates)}</main></body></html>\n"
    )


def _stretch(dates: Sequence[date]) -> str:
    """2 to 15 November 2026: month and year once, where they are the same."""
    first, last = dates[0], dates[-1]
    until = f"{last.day} {last:%B %Y}"
    if first == last:
        return until
    form = (
        "%d"
        if (first.year, first.month) == (last.year, last.month)
        else "%d %B"
        if first.year == last.year
        else "%d %B %Y"
    )
    return f"{first.strftime(form).lstrip('0')} to {until}"


# --- figures


def _figures(findings: Findings, workspace: Workspace) -> str:
    stages = [rule.stage for rule in workspace.lifecycle.stages if rule.stage != Stage.LEAD]
    promotions = findings.each(lambda run: run.promotions, besides=stages)
    alerts = findings.each(lambda run: run.alerts, besides=list(workspace.settings.reps))
    figures = [("mails", findings.sends)]
    figures += [(f"became {stage}", found) for stage, found in promotions.items() if found.p90]
    figures += [(f"alerts to {rep}", found) for rep, found in alerts.items()]
    figures += [("times a cap stood in the way", findings.capped)]
    failed = findings.one(lambda run: run.failed)
    figures += [("mails that could not be written", failed)] if failed.p90 else []
    tiles = "".join(f"<div><dt>{escape(name)}</dt><dd>{_spread(found, 'small')}</dd></div>" for name, found in figures)
    return f'<section><h2>In all these days</h2><dl class="figures">{tiles}</dl>{_how_to_read(findings)}</section>'


def _how_to_read(findings: Findings) -> str:
    if len(findings.runs) == 1:
        return '<p class="note">One run: more of them (<code>--runs</code>) would tell how much is luck.</p>'
    return '<p class="note">The middle of all runs, and in small from their tenth to their ninetieth percentile.</p>'


def _spread(found: Spread, tag: str) -> str:
    if found.p10 == found.p90:
        return f"{found.p50:,}"
    return f"{found.p50:,} <{tag}>{found.p10:,}–{found.p90:,}</{tag}>"


# --- the calendar


def _calendar(findings: Findings, middle: RunFindings) -> str:
    most = max(middle.sends.values(), default=0)
    hours = range(24)
    head = "".join(f'<th scope="col">{hour:02}</th>' for hour in hours)
    rows = "".join(_row(day, hours, middle, findings.sends_on(day), most) for day in findings.dates)
    scale = "".join(f'<i class="h{level}"></i>' for level in range(LEVELS + 1))
    return (
        f"<section><h2>When mail goes out</h2>"
        f'<p class="note">Mails by day and hour in {escape(findings.zone.key)}: run {findings.middle + 1}, the one in '
        f"the middle. The last column speaks of all runs.</p>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="Mails by day and hour"><table class="heat">'
        f'<thead><tr><th scope="col"><span class="unseen">Day</span></th>{head}<th scope="col">a day</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        f'<p class="scale" aria-hidden="true">0 {scale} {most:,} an hour</p></section>'
    )


def _row(day: date, hours: range, run: RunFindings, sends: Spread, most: int) -> str:
    cells = "".join(_cell(run.sends.get((day, hour), 0), most) for hour in hours)
    kind = ' class="weekend"' if day.isoweekday() > 5 else ""
    total = _spread(sends, "small") if sends.p90 else "<small>0</small>"
    return (
        f'<tr{kind}><th scope="row"><time datetime="{day.isoformat()}">{day:%a} <b>{day.day} {day:%b}</b></time></th>'
        f'{cells}<td class="total">{total}</td></tr>'
    )


def _cell(count: int, most: int) -> str:
    if not count:
        return '<td class="h0"></td>'
    level = ceil(LEVELS * sqrt(count / most))  # by the root, or a few busy hours would leave the others white
    return f'<td class="h{level}" title="{count:,}">{_brief(count)}</td>'


def _brief(count: int) -> str:
    """At most four characters: 999, 1.2k, 12k."""
    if count < 1_000:
        return str(count)
    return f"{count / 1_000:.1f}k" if count < 9_950 else f"{count / 1_000:.0f}k"


# --- paths


def _paths(findings: Findings, middle: RunFindings, workspace: Workspace) -> str:
    names = [name for name in workspace.cadences if name in middle.flows]
    still = [name for name in workspace.cadences if name not in middle.flows]
    drawn = "".join(_path(workspace.cadences[name], middle) for name in names)
    idle = f'<p class="note">Nobody was in {escape(", ".join(still))}.</p>' if still else ""
    return (
        f"<section><h2>The path of leads through the steps</h2>"
        f'<p class="note">Run {findings.middle + 1}. A band is as wide as leads are many; on the right stands how '
        f"their runs ended, or that they are still under way.</p>{drawn}{idle}</section>"
    )


def _path(cadence: Cadence, run: RunFindings) -> str:
    flows = run.flows[cadence.name]
    captions = {name: _caption(name, flows, cadence, run) for pair in flows for name in pair}
    mails = [key for key, step in cadence.steps.items() if isinstance(step, Email)]
    times = [name for number in range(1, MOST_TIMES + 1) for name in (_again(mail, number) for mail in mails)]
    gone = sorted({name for pair in flows for name in pair} - {ENTERED, *times} - {n for n in captions if n[0] == ENDS})
    title = f"The path of leads through {cadence.title}; the table below has the numbers"
    picture = draw_flow(flows, captions, order=[*times, *gone], title=title)
    entered = sum(count for (source, _), count in flows.items() if source == ENTERED)
    rows = "".join(_step_row(step, run.steps.get((cadence.name, key), _NONE)) for key, step in cadence.steps.items())
    return (
        f"<article><h3>{escape(cadence.title)} <span>{escape(cadence.name)} · {entered:,} leads</span></h3>"
        f'<div class="scroll flow" tabindex="0" role="region" aria-label="{escape(title)}">{picture}</div>'
        f'<details><summary>Step by step</summary><div class="scroll"><table class="steps"><thead><tr>'
        f'<th scope="col">step</th><th scope="col">came</th><th scope="col">sent</th><th scope="col">clicked</th>'
        f'<th scope="col">stand there</th><th scope="col">left there</th></tr></thead><tbody>{rows}</tbody></table>'
        f"</div></details></article>"
    )


def _again(mail: str, number: int) -> str:
    return mail if number == 1 else f"{mail} ×{number}"


def _caption(name: str, flows: Mapping[tuple[str, str], int], cadence: Cadence, run: RunFindings) -> Caption:
    came = sum(count for (_, target), count in flows.items() if target == name)
    if name == ENTERED:
        total = sum(count for (source, _), count in flows.items() if source == ENTERED)
        return Caption(name="Entered", told=f"{total:,}")
    if name.startswith(ENDS):
        return Caption(name=_ending(name.removeprefix(ENDS)), told=f"{came:,}")
    numbers = run.steps.get((cadence.name, name.partition(" ×")[0]), _NONE)
    share = f" · {numbers.clicked / numbers.sent:.0%} clicked" if numbers.sent else ""
    return Caption(name=name, told=f"{came:,}{share}")


def _ending(reason: str) -> str:
    said = {COMPLETED: "completed", UNDER_WAY: "still under way", "goal": "reached the goal"}
    return said.get(reason, reason.replace("_", " "))


def _step_row(step: Step, numbers: StepNumbers) -> str:
    left = ", ".join(f"{_ending(reason)} {count:,}" for reason, count in numbers.exited.items())
    clicked = f"{numbers.clicked:,} <small>{numbers.clicked / numbers.sent:.1%}</small>" if numbers.sent else ""
    told = [numbers.entered or "", numbers.sent or "", clicked, numbers.waiting or ""]
    cells = "".join(f"<td>{each:,}</td>" if isinstance(each, int) else f"<td>{each}</td>" for each in told)
    strong = ' class="sends"' if isinstance(step, Email) else ""
    return f'<tr{strong}><th scope="row">{_says(step)}</th>{cells}<td class="left">{escape(left)}</td></tr>'


def _says(step: Step) -> str:
    """The step in a few words, escaped."""
    kind, what = _words(step)
    when = f" <small>when {escape(step.when)}</small>" if step.when is not None else ""
    return f"<span>{escape(kind)}</span> {escape(what)}{when}"


def _words(step: Step) -> tuple[str, str]:
    match step:
        case Email():
            return "mail", step.key
        case Wait(span=span):
            return "wait", say_span(span)
        case WaitUntil():
            return "wait until", step.field or step.moment or step.weekday or ""
        case WaitFor():
            return "wait for", step.condition
        case Branch():
            return "if", " / ".join(arm.condition for arm in step.arms)
        case Split():
            return "split", ", ".join(step.paths)
        case Goto():
            return "go to", step.to
        case Notify():
            return "notify", step.to
        case Task():
            return "task", step.text
        case Promote():
            return "promote", step.stage
        case SetFields():
            return "set", ", ".join(step.fields)
        case Tag() | Untag():
            return step.kind, step.tag
        case EnrollIn():
            return "enroll", step.cadence
        case Webhook():
            return "webhook", step.channel
        case Sunset() | Exit():
            return step.kind, step.reason


# --- what is assumed


def _assumed(rates: Rates) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{escape(what)}</th><td>{share:.2%}</td></tr>" for what, share in _shares(rates)
    )
    return (
        "<section><h2>What is assumed of readers</h2>"
        '<p class="note">The same for every mail, whatever its subject and offer: so this tells when mail goes out, to '
        "how many, and what stands in its way. How many click is assumed, not foretold. Reps answer no alert, and "
        "nothing happens to leads but what they do with mail.</p>"
        f'<table class="assumed"><tbody>{rows}</tbody></table></section>'
    )


def _shares(rates: Rates) -> Iterator[tuple[str, float]]:
    yield "addresses that do not exist", rates.dead
    yield "of mails are opened", rates.opens
    yield "of opened mails are clicked", rates.clicks
    yield "of clicks show a page of the website", rates.visits
    yield "of clicks lead to a request for a demo", rates.demos
    yield "of opened mails are replied to", rates.replies
    yield "of opened mails end in an unsubscription", rates.leaves
    yield "of mails are reported as spam", rates.complains
