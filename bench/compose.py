"""Microseconds to render and compose one letter, beside `EmailMessage` and plain Jinja in the same run."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from functools import partial
from itertools import cycle
from pathlib import Path
from timeit import repeat

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jinja2 import Environment

from bench.letter_template import write_template
from bench.rows import Row, options_of, tell
from nurture.content.dkim import DkimSigner
from nurture.content.letters import Composer, LetterRequest, LinkStyle
from nurture.content.templates import TemplateLibrary


def request_for(number: int) -> LetterRequest:
    """Each lead has its own name, address and links, as in a real run."""
    token = f"ab12.{number}.Zm9vYmFyYmF6cXV4cXV1eA"
    return LetterRequest(
        template="letter",
        subject="{{ lead.first_name | default('Hello') }}, three numbers for {{ lead.company | default('you') }}",
        preheader="Three short reads, no form",
        language="en",
        context={
            "lead": {"first_name": f"Zoë {number}", "company": f"Acme {number}", "custom": {"plan": "pro"}},
            "workspace": {"postal_address": "Acme Analytics GmbH, Beispielweg 1, 10115 Berlin, Germany"},
        },
        from_name="Anna Meier",
        from_address="anna@acme.example",
        reply_to="anna@acme.example",
        to_name=f"Zoë {number}",
        to_address=f"lead{number}@example.com",
        message_id=f"{number}.0123456789abcdef01@acme.example",
        date=datetime(2026, 11, 2, 9, 0, number % 60, tzinfo=UTC),
        links=LinkStyle(
            click_base=f"https://go.acme.example/c/{token}",
            open_url=f"https://go.acme.example/o/{token}.gif",
            unsubscribe_url=f"https://go.acme.example/u/{token}",
            preferences_url=f"https://go.acme.example/u/{token}?page=preferences",
            one_click_url=f"https://go.acme.example/u/{token}",
        ),
        list_id="product.acme.example",
        feedback_id="guide:step:acme",
    )


def by_email_message(html: str, text: str) -> Callable[[LetterRequest], bytes]:
    """The usual way: render the compiled HTML, wrap links with a regular expression, let `EmailMessage` serialise."""
    environment = Environment(autoescape=True)
    html_template, text_template = environment.from_string(html), environment.from_string(text)

    def compose(request: LetterRequest) -> bytes:
        values = {**request.context, "unsubscribe_url": request.links.unsubscribe_url}
        rendered = html_template.render(values)
        numbers = iter(range(100))
        rendered = re.sub(
            r'(<a href=")https?[^"]*', lambda link: f"{link[1]}{request.links.click_base}-{next(numbers)}", rendered
        )
        message = EmailMessage()
        message["From"] = f"{request.from_name} <{request.from_address}>"
        message["To"] = request.to_address
        message["Subject"] = f"{request.context['lead']['first_name']}, three numbers"
        message["Message-ID"] = f"<{request.message_id}>"
        message.set_content(text_template.render(values))
        message.add_alternative(rendered, subtype="html")
        return message.as_bytes()

    return compose


def compose_next(composer: Composer, requests: Iterator[LetterRequest]) -> object:
    return composer.compose(next(requests))


def microseconds(action: Callable[[], object], number: int) -> float:
    return min(repeat(action, number=number, repeat=5)) / number * 1e6


def pem(key: object) -> bytes:
    written: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]
    return written


def measure(number: int) -> list[Row]:
    """A row for each kind of signature; each time is the best of five turns of so many letters."""
    with tempfile.TemporaryDirectory() as folder:
        write_template(Path(folder))
        composer = Composer(TemplateLibrary(Path(folder)))
        letter = composer.compose(request_for(1))
        rsa = DkimSigner(domain="acme.example", selector="s1", private_key_pem=pem(generate_private_key(65537, 2048)))
        ed25519 = DkimSigner(domain="acme.example", selector="s2", private_key_pem=pem(Ed25519PrivateKey.generate()))
        html = letter.html.encode()
        print(f"{len(letter.wire)} bytes on the wire, {len(html)} of HTML, {letter.html.count('<a href')} links")
        peer = by_email_message(letter.html, letter.text)
        requests = [request_for(each) for each in range(2 * number)]
        requests_again = cycle(requests)
        baseline = microseconds(lambda: peer(next(requests_again)), max(number // 20, 1))
        rows = []
        for name, signer in (("without DKIM", None), ("RSA-2048", rsa), ("Ed25519", ed25519)):
            each = cycle([replace(request, dkim=() if signer is None else (signer,)) for request in requests])
            taken = microseconds(partial(compose_next, composer, each), number)
            rows.append(
                Row(
                    work=f"compose a letter, {name}",
                    limit=f"`EmailMessage` and Jinja: {baseline:,.0f} µs",
                    result=f"{taken:,.0f} µs",
                    ratios=(baseline / taken,),
                    note="times as fast; best of 5 turns",
                )
            )
        return rows


def main() -> None:
    parser = options_of(__doc__, "bench.compose")
    parser.add_argument("--letters", type=int, default=1000, help="of a turn")
    options = parser.parse_args()
    tell(measure(options.letters), options.rows)


if __name__ == "__main__":
    main()
