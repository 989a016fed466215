"""The letter that benchmarks send: 33 KB on the wire, 13 links, slots in text and in addresses."""

from __future__ import annotations

from pathlib import Path

PARAGRAPH = (
    "Most teams keep their numbers in four places and look at none of them. This is how a team of twelve brought "
    "them into one page, what it cost them, and what they would do differently if they began again today. "
)


def write_template(folder: Path) -> None:
    """Writes `letter.mjml` into a templates' folder."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks = "".join(_block(number) for number in range(5))
    (folder / "letter.mjml").write_text(
        "<mjml><mj-head><mj-style>.lead a { color: #155eef; }</mj-style></mj-head><mj-body>"
        "<mj-section><mj-column><mj-text css-class='lead'>Hello {{ lead.first_name | default('there') }}, "
        "{% if lead.company %}we kept {{ lead.company }} in mind.{% endif %} "
        "<a href=\"https://www.acme.example/plans?plan={{ lead.custom.plan | default('team') | urlencode }}\">Plans</a>"
        f"</mj-text></mj-column></mj-section>{blocks}"
        "<mj-section><mj-column><mj-text>{{ workspace.postal_address }} "
        '<a href="{{ unsubscribe_url }}">Unsubscribe</a> <a href="{{ preferences_url }}">Preferences</a>'
        "</mj-text></mj-column></mj-section></mj-body></mjml>"
    )


def _block(number: int) -> str:
    return (
        f'<mj-section><mj-column><mj-image src="https://www.acme.example/{number}.png" alt="Chart {number}" />'
        f'<mj-text css-class="lead">{PARAGRAPH * 2}<a href="https://www.acme.example/read/{number}?ref=mail&step=1">More'
        f'</a></mj-text><mj-button href="https://www.acme.example/case/{number}">Read the case</mj-button></mj-column>'
        "</mj-section>"
    )
