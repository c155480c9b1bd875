//! Mail as programs really write it: what comes out of the queue is what went in, below the fields that were missing.

use super::*;

/// Each as its program writes it, line ends included.
const CORPUS: &[(&str, &str)] = &[
    (
        "cron through a mail command",
        "From: root@host.example (Cron Daemon)\nTo: ops@x.example\nSubject: Cron <root@host> /usr/bin/backup\n\
         MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\
         X-Cron-Env: <SHELL=/bin/sh>\nAuto-Submitted: auto-generated\n\ntar: Entferne führendes „/“\n.\n..\n",
    ),
    (
        "a script of mixed line ends",
        "To: c@d.example\r\nSubject: Order 7\nFrom: shop@x.example\r\nX-Mailer: PHP/8.3\nMIME-Version: 1.0\r\n\
         Content-Type: text/html; charset=\"utf-8\"\n\n<html>\r\n<body>\nok</body></html>",
    ),
    (
        "a desktop client with an attachment",
        "From: \"Doe, Jane\" <jane@x.example>\r\nTo: \"C\" <c@d.example>,\r\n\t<e@d.example>\r\nCc: <f@d.example>\r\n\
         Subject: =?iso-8859-1?Q?Best=E4tigung?=\r\nDate: Tue, 24 Nov 2026 09:30:00 +0100\r\n\
         Message-ID: <000001d9$abc$def@x.example>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n\
         \tboundary=\"----=_NextPart_000_0001\"\r\nX-Mailer: Mail 16.0\r\nThread-Index: AdnabcDEF==\r\n\r\n\
         This is a multipart message in MIME format.\r\n\r\n------=_NextPart_000_0001\r\nContent-Type: text/plain;\r\n\
         \tcharset=\"us-ascii\"\r\n\r\nHi\r\n\r\n------=_NextPart_000_0001\r\nContent-Type: application/pdf;\r\n\
         \tname=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQK\r\n\r\n------=_NextPart_000_0001--\r\n",
    ),
    (
        "a patch",
        "From: A U Thor <author@x.example>\nTo: list@d.example\nSubject: [PATCH 1/2] queue: fix\nDate: Mon, 23 Nov 2026 18:00:00 +0100\n\
         Message-ID: <20261123170000.1-1-author@x.example>\nX-Mailer: git-send-email 2.43.0\n\n---\n a.c | 2 +-\n\n\
         diff --git a/a.c b/a.c\n-- \n2.43.0\n\n",
    ),
    (
        "a signed message whose signature covers trailing blanks",
        "From: a@x.example\r\nTo: c@d.example\r\nDate: Tue, 24 Nov 2026 09:30:00 +0100\r\nMessage-ID: <s@x.example>\r\n\
         DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=x.example; s=k;\r\n h=from:to; bh=abc=;\r\n b=def\r\n\
         Content-Type: multipart/signed; protocol=\"application/pgp-signature\";\r\n micalg=pgp-sha256; boundary=b\r\n\r\n\
         --b\r\n\r\nsigned text \t\r\nFrom here\r\n\r\n\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\n\
         -----BEGIN PGP SIGNATURE-----\r\n=abcd\r\n-----END PGP SIGNATURE-----\r\n--b--\r\n",
    ),
    (
        "a reply in a long thread",
        "From: a@x.example\r\nTo: friends: c@d.example, E <e@d.example>;, \"o'neil\" <o@d.example>\r\n\
         Message-ID: <r@x.example>\r\nDate: Tue, 24 Nov 2026 09:30:00 +0100\r\nReferences: <1@x.example>\r\n <2@x.example>\r\n\
         \t<3@x.example>\r\nIn-Reply-To: <3@x.example>\r\nSubject: Re: a\r\n \r\n b\r\nComments: a : b\r\n\r\n> quoted\r\n\r\nme\r\n",
    ),
    (
        "an appliance that ends its lines in its own way",
        "From: printer@x.example\r\nTo: c@d.example\r\nSubject: Toner low\r\n\r\nToner: 3 %\rPage: 1234\rBye\r",
    ),
    (
        "an invitation with names beyond ASCII",
        "From: =?UTF-8?B?SsO8cmdlbg==?= <j@x.example>\r\nTo: c@b\u{fc}cher.example\r\nSubject: Besprechung für alle\r\n\
         Content-Type: text/calendar; method=REQUEST\r\n\r\nBEGIN:VCALENDAR\r\nSUMMARY:Größe\r\nEND:VCALENDAR\r\n",
    ),
    ("a header alone", "From: a@x.example\nTo: c@d.example\nSubject: (no text)\n"),
    ("an empty text", "From: a@x.example\nTo: c@d.example\n\n"),
    (
        "a message in a message",
        "From: a@x.example\r\nTo: c@d.example\r\nMIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n\
         From: inner@d.example\r\nBcc: inner-bcc@d.example\r\nMessage-ID: <inner@d.example>\r\n\r\ninner\r\n",
    ),
];

/// Every line end as CRLF, the last line ended.
fn crlf(text: &str) -> String {
    let mut text = text.replace("\r\n", "\n").replace('\r', "\n");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.replace('\n', "\r\n")
}

#[tokio::test(start_paused = true)]
async fn real_mail_arrives_as_it_was_written() {
    let bench = Bench::plain().await;
    for (name, given) in CORPUS {
        let before = bench.mail.taken().len();
        let id = bench.submit(raw(given)).await.unwrap_or_else(|error| panic!("{name}: {error}")).id;
        let view = bench.wait(id).await;
        assert_eq!(view.state, MessageState::Sent, "{name}");
        let taken = bench.mail.taken();
        assert_eq!(taken.len(), before + 1, "{name}");
        let got = &taken[before].octets;
        let expected = crlf(given);
        let added = got.strip_suffix(&expected).unwrap_or_else(|| panic!("{name}: {got}"));
        let header = expected.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
        for (field, was_missing) in
            [("Date: ", !header.contains("date: ")), ("Message-ID: ", !header.contains("message-id: "))]
        {
            assert_eq!(added.contains(field), was_missing, "{name}: {added}");
        }
        assert!(
            added.lines().all(|line| line.starts_with("Date: ") || line.starts_with("Message-ID: ")),
            "{name}: {added}"
        );
    }
}
