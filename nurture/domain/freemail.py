"""Domains that give addresses to everyone: sharing one makes nobody colleagues, and nobody else may send From one."""

from __future__ import annotations

_DOMAINS = """
    gmail.com googlemail.com outlook.com outlook.de outlook.fr hotmail.com hotmail.de hotmail.fr
    hotmail.co.uk hotmail.it live.com live.de live.fr live.co.uk msn.com yahoo.com yahoo.co.uk yahoo.de
    yahoo.fr yahoo.it yahoo.es yahoo.co.jp yahoo.com.br ymail.com rocketmail.com aol.com aim.com
    icloud.com me.com mac.com gmx.de gmx.net gmx.at gmx.ch gmx.com web.de t-online.de freenet.de
    arcor.de posteo.de mailbox.org orange.fr wanadoo.fr free.fr sfr.fr laposte.net libero.it
    virgilio.it tiscali.it telefonica.net bluewin.ch hispeed.ch ziggo.nl kpnmail.nl telenet.be
    skynet.be wp.pl onet.pl o2.pl interia.pl seznam.cz centrum.cz mail.ru inbox.ru list.ru bk.ru
    yandex.ru yandex.com rambler.ru ukr.net proton.me protonmail.com pm.me tutanota.com tuta.io
    fastmail.com hey.com zoho.com mail.com comcast.net verizon.net att.net sbcglobal.net bellsouth.net
    cox.net charter.net shaw.ca rogers.com bigpond.com btinternet.com sky.com virginmedia.com
    talktalk.net uol.com.br bol.com.br terra.com.br qq.com 163.com 126.com sina.com naver.com daum.net
    hanmail.net rediffmail.com
"""
FREEMAIL: frozenset[str] = frozenset(_DOMAINS.split())
