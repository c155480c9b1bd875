// The mail server behind Dovecot's submission service: npm smtp-server, without AUTH and TLS, on loopback. The SMTP engine
// is the package's. Here is where mail lands ($RIG_DIR/mail/RECIPIENT/Maildir) and who provokes which answer.
//
// Recipients, by the beginning of the local part:
//   tempfail   451 at RCPT                greylist   451 at the first RCPT of an address, then accepted
//   full       452 at RCPT                reject     550 at RCPT                       relay    554 5.7.1 at RCPT
//   datatemp   451 after DATA             datafail   554 after DATA                    slow     accepted after 3 s
//   dropbefore connection cut after DATA, mail not kept                          dropafter the same, mail kept
// Sender badfrom: 550 at MAIL.
//
// Environment: RIG_DIR, SINK_SMTP (port).
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { SMTPServer } from 'smtp-server';

const refusals = [
  ['tempfail', 451, '4.3.2 Temporary server error. Please try again later'],
  ['full', 452, '4.2.2 Mailbox full'],
  ['reject', 550, '5.1.1 The email account that you tried to reach does not exist'],
  ['relay', 554, '5.7.1 Relay access denied'],
];
const greeted = new Set();
let count = 0;
const refusal = (code, text) => Object.assign(new Error(text), { responseCode: code });
const begins = (address, word) => address.toLowerCase().startsWith(word);

function store(recipient, sender, message) {
  const box = `${process.env.RIG_DIR}/mail/${recipient.toLowerCase().replace(/[^a-z0-9@._+-]/g, '_')}/Maildir`;
  for (const part of ['tmp', 'new', 'cur']) mkdirSync(`${box}/${part}`, { recursive: true });
  count += 1;
  const name = `${Math.floor(Date.now() / 1000)}.P${process.pid}Q${String(count).padStart(6, '0')}.sink`;
  const trace = Buffer.from(`Return-Path: <${sender}>\r\nDelivered-To: ${recipient}\r\n`);
  writeFileSync(`${box}/tmp/${name}`, Buffer.concat([trace, message]));
  renameSync(`${box}/tmp/${name}`, `${box}/new/${name}`);
}

const server = new SMTPServer({
  name: 'sink.rig.test',
  size: 26214400,
  disabledCommands: ['AUTH', 'STARTTLS'],
  disableReverseLookup: true,
  hideDSN: false,
  logger: false,
  onMailFrom(sender, session, done) {
    done(begins(sender.address, 'badfrom')
      ? refusal(550, '5.7.60 SMTP; Client does not have permissions to send as this sender') : null);
  },
  onRcptTo({ address }, session, done) {
    const [, code, text] = refusals.find(([word]) => begins(address, word)) ?? [];
    if (code) return done(refusal(code, text));
    if (begins(address, 'greylist') && !greeted.has(address)) {
      greeted.add(address);
      return done(refusal(451, '4.7.1 Greylisted, please try again'));
    }
    return done();
  },
  onData(stream, session, done) {
    const chunks = [];
    stream.on('data', (chunk) => chunks.push(chunk));
    stream.on('end', () => {
      const recipients = session.envelope.rcptTo.map(({ address }) => address);
      const to = (word) => recipients.some((address) => begins(address, word));
      if (stream.sizeExceeded) return done(refusal(552, '5.3.4 Message size exceeds fixed limit'));
      if (to('datatemp')) return done(refusal(451, '4.3.0 Try again later'));
      if (to('datafail')) return done(refusal(554, '5.6.0 Message content rejected'));
      if (to('dropbefore')) return cut(session);
      const message = Buffer.concat(chunks);
      for (const address of recipients) store(address, session.envelope.mailFrom?.address ?? '', message);
      if (to('dropafter')) return cut(session);
      const accept = () => done(null, `OK queued as ${count}`);
      return to('slow') ? setTimeout(accept, 3000) : accept();
    });
  },
});

// As a server that crashes: the connection ends without an answer.
function cut(session) {
  for (const connection of server.connections) if (connection.session === session) connection._socket.destroy();
}

server.on('error', (error) => {
  console.error(error.message);
  if (!server.server.listening) process.exit(1);
});
server.listen(Number(process.env.SINK_SMTP), '127.0.0.1', () => console.log('ready'));
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
