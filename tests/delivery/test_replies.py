"""What real servers say, and what it means for us."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.delivery.replies import read_reply

SOFT, HARD, BLOCK = "soft", "hard", "block"

# As each gives them to RCPT, or after the end of the message where the line begins with a dot.
GMAIL = """
250 2.0.0 OK  1716 x-20020a gsmtp -> accepted
550 5.1.1 The email account that you tried to reach does not exist. gsmtp -> hard
550 5.2.1 The email account that you tried to reach is disabled. -> hard
550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages -> soft
450 4.2.1 The user you are trying to contact is receiving mail too quickly. -> soft
452 4.2.2 The recipient's inbox is out of storage space and inactive. gsmtp -> soft
552 5.2.2 The recipient's inbox is out of storage space. -> soft
421 4.7.0 Try again later, closing connection. (EHLO) gsmtp -> soft
.421 4.7.26 This mail has been rate limited because it is unauthenticated. -> soft
.421 4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP address. -> soft
.550 5.7.1 Our system has detected that this message is likely unsolicited mail. -> block
.550 5.7.25 The IP address sending this message does not have a PTR record setup -> block
.550 5.7.26 This mail has been blocked because the sender is unauthenticated. DKIM = did not pass -> block
.552 5.7.0 This message was blocked because its content presents a potential security issue. -> block
.552 5.3.4 Your message exceeded Google's message size limits. -> block, this alone
550 5.4.5 Daily user sending limit exceeded. -> soft
"""
MICROSOFT = """
550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302). [x.protection.outlook.com] -> hard
550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient zoe@y.example not found by SMTP address lookup -> hard
550 5.1.1 RESOLVER.ADR.ExRecipNotFound; not found -> hard
550 5.4.1 Recipient address rejected: Access denied. AS(201806281) [x.prod.protection.outlook.com] -> hard
550 5.2.1 STOREDRV.Deliver; mailbox disabled -> hard
554 5.2.2 mailbox full; STOREDRV.Deliver.QuotaExceededException -> soft
550 5.4.310 DNS domain y.example does not exist [Message=InfoDomainNonexistent] -> hard, host unknown
451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77714) -> soft
451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation. -> soft
550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Their network is on our block list (S3140). -> block
550 5.7.606 Access denied, banned sending IP [192.0.2.1]. -> block
550 5.7.515 Access denied, sending domain ACME.EXAMPLE does not meet the required authentication level. -> block
550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP. -> block
550 5.1.8 Access denied, bad outbound sender. AS(42004) -> block
550 5.7.64 TenantAttribution; Relay Access Denied -> block
550 SC-001 Unfortunately, messages from 192.0.2.1 weren't sent. Mail rejected for policy reasons. -> block
550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup -> block, this alone
550 5.7.124 RESOLVER.RST.SenderNotInAllowedSendersList; not allowed -> block, this alone
550 5.7.1 RESOLVER.RST.NotAuthorized; not authorized -> block, this alone
550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient -> block, this alone
"""
YAHOO = """
554 delivery error: dd This user doesn't have a yahoo.com account (zoe@yahoo.com) [0] -> hard
552 1 Requested mail action aborted, mailbox not found -> hard
421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints -> soft
451 4.3.2 Resources temporarily not available - Please try again later [#4.16.5]. -> soft
553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ip is in Spamhaus's list -> block
.554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/ -> block
.554 Message not allowed - [PH01] Email not accepted for policy reasons. -> block
"""
ICLOUD = """
550 5.1.1 <zoe@icloud.com>: user does not exist -> hard
550 5.1.1 unknown or illegal alias: zoe@icloud.com -> hard
552 5.2.2 <zoe@icloud.com>: user is over quota -> soft
.554 5.7.1 [CS01] Message rejected due to local policy. Please visit https://support.apple.com/ -> block
"""
GMX_AND_WEB_DE = """
550 Requested action not taken: mailbox unavailable For explanation visit https://postmaster.gmx.net/ -> hard
550 Requested mail action not taken: mailbox unavailable. Reject due to policy restrictions. -> block
552 Requested mail action aborted: exceeded storage allocation. Quota exceeded. -> soft
450 Requested mail action not taken: mailbox unavailable Mail rate limit exceeded. -> soft
.554 Transaction failed Reject due to policy restrictions. -> block
554 gmx.net (mxgmx101) Nemesis ESMTP Service not available No SMTP service Bad DNS PTR resource record. -> block
.552 Requested mail action aborted: The message size exceeds the maximum message size -> block, this alone
"""
POSTFIX = """
550 5.1.1 <zoe@y.example>: Recipient address rejected: User unknown in virtual mailbox table -> hard
550 5.1.2 <zoe@y.example>: Recipient address rejected: Domain not found -> hard, host unknown
450 4.1.2 <zoe@y.example>: Recipient address rejected: Domain not found -> soft, host unknown
450 4.1.1 <zoe@y.example>: Recipient address rejected: unverified address: connection timed out -> soft
450 4.2.0 <zoe@y.example>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/ -> soft
451 4.7.1 Greylisting in action, please come back later -> soft
452 4.3.1 Insufficient system storage -> soft
454 4.7.1 <zoe@y.example>: Relay access denied -> soft
554 5.7.1 <zoe@y.example>: Relay access denied -> block
550 5.1.0 <anna@acme.example>: Sender address rejected: User unknown in local recipient table -> block
550 5.1.8 <anna@acme.example>: Sender address rejected: Domain not found -> block
550 5.1.7 <anna@acme.example>: Sender address rejected: undeliverable address -> block
554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org -> block
554 5.4.6 Too many hops -> soft
552 5.3.4 Message size exceeds fixed limit -> block, this alone
556 5.1.10 Recipient address has null MX -> hard
"""
EXIM = """
550 Unrouteable address -> hard
550 No Such User Here -> hard
550 Verification failed for <anna@acme.example> Unrouteable address Sender verify failed -> block
550 relay not permitted -> block
550 Rejected because 192.0.2.1 is in a black list at zen.spamhaus.org -> block
.550 Administrative prohibition -> block
451 Temporary local problem - please try later -> soft
.552 Message size exceeds maximum permitted -> block, this alone
"""
FILTERS = """
550 5.1.1 User Unknown (proofpoint) -> hard
554 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1 -> block
550 Invalid Recipient - https://community.mimecast.com/docs/DOC-1369#550 [abc.uk1] -> hard
.550 Rejected by header based Anti-Spoofing policy: anna@acme.example [abc.uk1] -> block
550 csi.mimecast.org Poor Reputation Sender. - https://community.mimecast.com/docs/DOC-1369#550 -> block
451 Internal resources are temporarily unavailable - https://community.mimecast.com/docs/DOC-1369#451 -> soft
.554 Email rejected due to security policies - https://community.mimecast.com/docs/DOC-1369#554 -> block
.550 permanent failure for one or more recipients (zoe@y.example:550 5.1.1 User unknown) (barracuda) -> hard
.550 permanent failure for one or more recipients (zoe@y.example:blocked) -> block
554 Service unavailable; Client host [192.0.2.1] blocked using Barracuda Reputation -> block
"""
ZOHO_MAIL_RU_QQ_AND_YANDEX = """
550 5.1.1 User does not exist - <zoe@y.example> -> hard
553 Relaying disallowed. Invalid Domain - y.example -> block
550 5.4.6 Unusual sending activity detected. Please try after sometime -> block
541 5.4.1 Mail rejected by destination domain -> block
550 Message was not accepted -- invalid mailbox. Local mailbox zoe@mail.ru is unavailable: user not found -> hard
550 Message was not accepted -- invalid mailbox. Local mailbox zoe@mail.ru is unavailable: account is disabled -> hard
.550 spam message rejected. Please visit http://help.mail.ru/notspam-support/id?c=1 -> block
550 Access from ip address 192.0.2.1 blocked. Visit http://postmaster.mail.ru -> block
451 Ratelimit exceeded for mailbox. Try again later. -> soft
550 Mailbox not found. http://service.mail.qq.com/cgi-bin/help?subtype=1 -> hard
550 Ip frequency limited. http://service.mail.qq.com/cgi-bin/help?subtype=1 -> soft
.550 Mail content denied. http://service.mail.qq.com/cgi-bin/help?subtype=1 -> block
.550 SPF check failed. http://service.mail.qq.com/cgi-bin/help?subtype=1 -> block
550 5.7.1 No such user! -> hard
550 User not found: zoe@163.com -> hard
.554 DT:SPM 163 smtp1 please see http://mail.163.com/help/help_spam_16.htm -> block
554 IP=192.0.2.1 - A problem occurred. Ask your postmaster to contact tosa@rx.t-online.de -> block
"""
BARE = """
550  -> hard
.550 Message rejected -> block
.554 Message rejected due to content -> block
550 5.7.1 <zoe@y.example>: Recipient address rejected: see postmaster -> block
553 5.1.2 Unknown recipient domain -> hard, host unknown
550 4.2.2 Mailbox full -> soft
550 2.0.0 what a strange code -> hard
550 5.1.1.5 is my address -> hard
.550 you, 5.1.1.5, are not welcome -> block
550 5.2.1 disabled; no reply to 5.7.1 -> hard
503 bad sequence of commands -> block, this alone
555 5.5.4 Unsupported option: SMTPUTF8 -> block, this alone
535 5.7.8 Error: authentication failed -> block
530 5.7.0 Must issue a STARTTLS command first -> block
599 whatever -> block
"""
SAID = (GMAIL, MICROSOFT, YAHOO, ICLOUD, GMX_AND_WEB_DE, POSTFIX, EXIM, FILTERS, ZOHO_MAIL_RU_QQ_AND_YANDEX, BARE)
LINES = [line for block in SAID for line in block.strip().splitlines()]


@pytest.mark.parametrize("line", LINES)
def test_classes(line: str) -> None:
    reply, _, expected = line.rpartition(" -> ")
    code, _, text = reply.removeprefix(".").partition(" ")
    klass, _, cause = expected.partition(", ")
    read = read_reply(int(code), text, at_rcpt=not reply.startswith("."))
    assert (read.klass.value, read.cause or "") == (klass, cause)


def test_what_is_no_reply_of_smtp_is_tried_again() -> None:
    assert read_reply(0, "").klass.value == SOFT
    assert read_reply(354, "go on").klass.value == SOFT


def test_an_enhanced_code_counts_on_any_line() -> None:
    assert read_reply(550, "zoe@y.example\n5.1.1 no\n5.1.1 not here").klass.value == HARD


@given(st.integers(400, 499), st.text(max_size=60))
def test_a_temporary_refusal_is_never_hard_or_a_block(code: int, text: str) -> None:
    assert read_reply(code, text, at_rcpt=True).klass.value == SOFT


@given(st.text())
def test_a_reply_is_one_bounded_printable_line(text: str) -> None:
    said = read_reply(550, f"a\r\nb\x1b[31m{text}" + "x" * 2000).text
    assert len(said) <= 500
    assert said.isprintable()
