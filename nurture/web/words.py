"""What the pages say, in the languages nurture ships. A language that is missing here is told in English."""

from __future__ import annotations

from collections.abc import Mapping

# The hyphen of "e‑mail" is U+2011, where no line breaks.
WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "not_found_title": "This page is not here",
        "not_found_text": "The link may be incomplete. Please open it from the e‑mail again, or copy all of it.",
        "bad_request_title": "That did not arrive whole",
        "bad_request_text": "Please go back, reload the page and try again.",
        "too_large_title": "That was too much at once",
        "too_large_text": "Please go back and shorten what you typed.",
        "too_many_title": "That was a lot of requests",
        "too_many_text": "Please wait an hour and try again.",
        "unavailable_title": "One moment, please",
        "unavailable_text": "We cannot take this right now. Nothing was changed. Please try again in a minute.",
        "error_title": "Something went wrong on our side",
        "error_text": "Nothing you did was wrong. If it stays like this, tell us this number:",
        "unsubscribe_title": "Leave our e‑mails?",
        "unsubscribe_text": "Press the button, and no more marketing e‑mail from {workspace} will reach this address.",
        "unsubscribe_button": "Unsubscribe from everything",
        "unsubscribe_note": "You don't have to sign in, and you don't have to say why.",
        "unsubscribed_title": "You are unsubscribed",
        "unsubscribed_text": "From now on you get no marketing e‑mail from {workspace}. That took effect at once.",
        "undo_question": "Clicked by mistake?",
        "undo_button": "Undo, keep the e‑mails coming",
        "undo_consent": "Undo, keep the e‑mails coming (said on the page after unsubscribing)",
        "resubscribed_title": "Welcome back",
        "resubscribed_text": "You will go on getting e‑mail from {workspace}. You can leave at any time.",
        "form_required": "required",
        "form_optional": "optional",
        "form_errors_one": "One answer needs another look.",
        "form_errors": "{count} answers need another look.",
        "form_stale": "This page was open for a long time. Please press the button again.",
        "form_choose": "Please choose",
        "form_bait": "Leave this field empty",
        "error_missing": "Please fill this in.",
        "error_email": "Please write a whole e‑mail address, such as anna@example.com.",
        "error_number": "Please write a number, such as 25.",
        "error_tel": "Please write a phone number with its country code, such as +49 30 1234567.",
        "error_date": "Please write a date as year-month-day, such as 2026-12-31.",
        "error_option": "Please choose one of these.",
        "error_long": "Please shorten this to {limit} characters.",
        "error_consent": "Please tick this box to go on.",
        "thanks_title": "Nearly done: check your mail",
        "thanks_text": "We have sent you an e‑mail with a button. Press it to confirm that the address is yours.",
        "thanks_hint": "Nothing there after a few minutes? Look into the spam folder, too.",
        "done_title": "Thank you",
        "done_text": "We have got your answers. What you asked for is on its way to your inbox.",
        "confirm_title": "One last step",
        "confirm_text": "Press the button to confirm your e‑mail address for {workspace}.",
        "confirm_consent": "You agree to:",
        "confirm_button": "Yes, confirm",
        "confirm_note": "You did not ask for this? Then just close this page, and you will hear nothing from us.",
        "confirmed_title": "Confirmed, thank you",
        "confirmed_text": "Your address is confirmed. You can leave at any time by the link in every e‑mail.",
        "confirmed_offer": "What you asked for is also on its way to your inbox.",
        "confirmed_download": "Get it now",
        "expired_title": "This confirmation is too old",
        "expired_text": "Please fill in the form again, and we will send you a new e‑mail.",
    },
    "de": {
        "not_found_title": "Diese Seite gibt es nicht",
        "not_found_text": "Vielleicht ist der Link unvollständig. Bitte öffnen Sie ihn noch einmal aus der E‑Mail.",
        "bad_request_title": "Das kam nicht vollständig an",
        "bad_request_text": "Bitte gehen Sie zurück, laden Sie die Seite neu und versuchen Sie es noch einmal.",
        "too_large_title": "Das war zu viel auf einmal",
        "too_large_text": "Bitte gehen Sie zurück und kürzen Sie Ihre Angaben.",
        "too_many_title": "Das waren viele Anfragen",
        "too_many_text": "Bitte warten Sie eine Stunde und versuchen Sie es dann noch einmal.",
        "unavailable_title": "Einen Moment, bitte",
        "unavailable_text": "Das geht gerade nicht. Es wurde nichts geändert. Bitte versuchen Sie es in einer Minute.",
        "error_title": "Bei uns ist etwas schiefgegangen",
        "error_text": "Sie haben nichts falsch gemacht. Wenn es so bleibt, nennen Sie uns bitte diese Nummer:",
        "unsubscribe_title": "Keine E‑Mails mehr?",
        "unsubscribe_text": "Ein Klick, und an diese Adresse geht keine Werbung von {workspace} mehr.",
        "unsubscribe_button": "Von allem abmelden",
        "unsubscribe_note": "Sie müssen sich nicht anmelden und keinen Grund nennen.",
        "unsubscribed_title": "Sie sind abgemeldet",
        "unsubscribed_text": "Ab sofort bekommen Sie keine Werbung von {workspace} mehr.",
        "undo_question": "Aus Versehen geklickt?",
        "undo_button": "Rückgängig, weiter E‑Mails bekommen",
        "undo_consent": "Rückgängig, weiter E‑Mails bekommen (auf der Seite nach dem Abmelden)",
        "resubscribed_title": "Schön, dass Sie bleiben",
        "resubscribed_text": "Sie bekommen weiter E‑Mails von {workspace}. Abmelden können Sie sich jederzeit.",
        "form_required": "Pflichtangabe",
        "form_optional": "freiwillig",
        "form_errors_one": "Eine Angabe stimmt noch nicht.",
        "form_errors": "{count} Angaben stimmen noch nicht.",
        "form_stale": "Diese Seite war lange offen. Bitte drücken Sie den Knopf noch einmal.",
        "form_choose": "Bitte wählen",
        "form_bait": "Dieses Feld bitte leer lassen",
        "error_missing": "Bitte füllen Sie dieses Feld aus.",
        "error_email": "Bitte geben Sie eine vollständige E‑Mail-Adresse an, etwa anna@example.com.",
        "error_number": "Bitte geben Sie eine Zahl an, etwa 25.",
        "error_tel": "Bitte geben Sie die Nummer mit Landesvorwahl an, etwa +49 30 1234567.",
        "error_date": "Bitte geben Sie ein Datum als Jahr-Monat-Tag an, etwa 2026-12-31.",
        "error_option": "Bitte wählen Sie einen der Einträge.",
        "error_long": "Bitte kürzen Sie das auf {limit} Zeichen.",
        "error_consent": "Bitte kreuzen Sie das an, um fortzufahren.",
        "thanks_title": "Fast fertig: Sehen Sie in Ihre E‑Mails",
        "thanks_text": "Wir haben Ihnen eine E‑Mail geschickt. Bestätigen Sie dort, dass die Adresse Ihnen gehört.",
        "thanks_hint": "Nach ein paar Minuten noch nichts da? Sehen Sie auch im Spam-Ordner nach.",
        "done_title": "Vielen Dank",
        "done_text": "Ihre Angaben sind da. Was Sie wollten, ist unterwegs in Ihr Postfach.",
        "confirm_title": "Noch ein letzter Schritt",
        "confirm_text": "Bestätigen Sie Ihre E‑Mail-Adresse für {workspace}.",
        "confirm_consent": "Sie stimmen zu:",
        "confirm_button": "Ja, bestätigen",
        "confirm_note": "Das waren nicht Sie? Dann schließen Sie die Seite einfach, und Sie hören nichts von uns.",
        "confirmed_title": "Bestätigt, vielen Dank",
        "confirmed_text": "Ihre Adresse ist bestätigt. Abmelden geht jederzeit über den Link in jeder E‑Mail.",
        "confirmed_offer": "Was Sie wollten, ist auch unterwegs in Ihr Postfach.",
        "confirmed_download": "Gleich herunterladen",
        "expired_title": "Diese Bestätigung ist zu alt",
        "expired_text": "Bitte füllen Sie das Formular noch einmal aus, dann kommt eine neue E‑Mail.",
    },
}
_FALLBACK = "en"
_ASKED_AT_MOST = 10


def choose_language(preferred: str | None, accept_language: str, default: str) -> str:
    """The first of these that nurture speaks: what is known of the reader, what the browser asks for, the default."""
    asked = [each.partition(";")[0] for each in accept_language[:200].split(",")[:_ASKED_AT_MOST]]
    for candidate in (preferred or "", *asked, default):
        language = candidate.strip().lower().partition("-")[0]
        if language in WORDS:
            return language
    return _FALLBACK


def words_for(language: str) -> Mapping[str, str]:
    return WORDS.get(language, WORDS[_FALLBACK])
