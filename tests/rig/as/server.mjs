// The authorization server: npm oidc-provider, a certified OAuth 2.0 and OpenID Connect server, as a peer of the tests.
//
// The protocol is the package's. Here are its configuration, two listeners, and an admin port: life times, faults in
// front of the server, and a log of what it did. Access tokens live 5 seconds unless told otherwise.
//
// Environment: RIG_DIR (certificates in $RIG_DIR/pki), AS_HTTPS and AS_ADMIN (ports), RIG_SECRET.
import { createHash, createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import Provider, { errors } from 'oidc-provider';

const file = (name) => readFileSync(`${process.env.RIG_DIR}/pki/${name}`, 'utf8');
const port = (name) => Number(process.env[name]);
const ISSUER = `https://localhost:${port('AS_HTTPS')}`;
const SECRET = process.env.RIG_SECRET;

// --- what the admin port changes and shows ---------------------------------------------------------------------------
const ttl = {
  AccessToken: 5, ClientCredentials: 5, RefreshToken: 3600, AuthorizationCode: 60, DeviceCode: 120, IdToken: 300,
  Interaction: 600, Session: 3600, Grant: 3600,
};
let faults = []; // {path, mode, count, …}, see `refuse`
let events = [];
const note = (kind, data) => events.push({ n: events.length, at: new Date().toISOString(), kind, ...data });

// --- resource servers: the mail server, with opaque or with JWT access tokens -----------------------------------------
// A client that knows only `scope`, as with Google and Microsoft, gets the kind of token of its default resource.
const MAIL_SCOPES = ['smtp.send', 'https://mail.google.com/', 'https://outlook.office.com/SMTP.Send'];
const mail = { scope: MAIL_SCOPES.join(' '), audience: 'urn:rig:mail' };
const resources = {
  'urn:rig:mail:opaque': { ...mail, accessTokenFormat: 'opaque' },
  'urn:rig:mail:jwt': { ...mail, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } },
};
const opaque = { rig_resource: 'urn:rig:mail:opaque' };
const jwt = { rig_resource: 'urn:rig:mail:jwt' };

// --- clients ---------------------------------------------------------------------------------------------------------
const person = {
  client_secret: SECRET,
  application_type: 'native', // so a loopback redirect URI matches with any port (RFC 8252 section 7.3)
  redirect_uris: ['127.0.0.1', 'localhost', '[::1]'].flatMap((h) => [`http://${h}/callback`, `http://${h}/`]),
  grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
  response_types: ['code'],
};
const service = {
  client_secret: SECRET,
  grant_types: ['client_credentials'], redirect_uris: [], response_types: [], rig_mailbox: 'svc@rig.test',
};
const clients = [
  { client_id: 'web-basic', ...person, ...opaque },
  { client_id: 'web-post', ...person, ...opaque, token_endpoint_auth_method: 'client_secret_post' },
  { client_id: 'web-jwt', ...person, ...jwt },
  { client_id: 'web-norotate', ...person, ...opaque, rig_rotate: false }, // as Google: the refresh token stays
  { client_id: 'cli-public', ...person, ...opaque, client_secret: undefined, token_endpoint_auth_method: 'none' },
  { client_id: 'svc-basic', ...service, ...opaque },
  { client_id: 'svc-post', ...service, ...opaque, token_endpoint_auth_method: 'client_secret_post' },
  { client_id: 'svc-jwt', ...service, ...jwt, rig_mailbox: 'svc-jwt@rig.test' },
  // Only form-encoded Basic credentials (RFC 6749 section 2.3.1) get past this name and secret.
  { client_id: 'odd id:/%', ...service, ...opaque, client_secret: 'p%40ss:w+rd &=-0123456789-0123456789-0123456789' },
  // The mail servers' own client: introspection only.
  { client_id: 'mail-rs', client_secret: SECRET, grant_types: [], redirect_uris: [], response_types: [] },
];
const mailbox = (login) => (login.includes('@') ? login : `${login}@rig.test`);

const provider = new Provider(ISSUER, {
  clients,
  jwks: { keys: [{ ...createPrivateKey(file('as-rs256.key')).export({ format: 'jwk' }), kid: 'rig-rs256', use: 'sig', alg: 'RS256' }] },
  clockTolerance: 0, // the default of 15 s would keep a token of 5 s alive for 20 s
  extraClientMetadata: { properties: ['rig_resource', 'rig_mailbox', 'rig_rotate'] },
  cookies: { keys: [createHash('sha256').update(ISSUER).digest('hex')] },
  scopes: ['openid', 'offline_access', 'email', ...MAIL_SCOPES],
  claims: { openid: ['sub'], email: ['email', 'email_verified'] },
  pkce: { required: (ctx, client) => client.clientAuthMethod === 'none' },
  async findAccount(ctx, sub) {
    if (sub === 'nobody') return undefined;
    return { accountId: sub, claims: () => ({ sub, email: mailbox(sub), email_verified: true }) };
  },
  // The mail server reads the mailbox of a token from this claim, in the JWT and in the introspection alike.
  async extraTokenClaims(ctx, token) {
    const box = token.kind === 'ClientCredentials'
      ? (await provider.Client.find(token.clientId))?.rig_mailbox
      : token.accountId && mailbox(token.accountId);
    return box && { email: box, username: box };
  },
  extraParams: ['access_type', 'login_hint'],
  // A refresh token for `offline_access`, as OpenID Connect and Microsoft; the client like Google's gets one without.
  async issueRefreshToken(ctx, client, code) {
    return client.grantTypeAllowed('refresh_token')
      && (code.scopes.has('offline_access') || client.rig_rotate === false);
  },
  expiresWithSession: async () => false,
  rotateRefreshToken: (ctx) => ctx.oidc.client.rig_rotate !== false,
  // Type JWT as in Microsoft's tokens: Dovecot 2.3 refuses `at+jwt` of RFC 9068.
  formats: { customizers: { jwt: (ctx, token, parts) => { parts.header = { ...parts.header, typ: 'JWT' }; } } },
  ttl: Object.fromEntries(Object.keys(ttl).map((kind) => [kind, () => ttl[kind]])),
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
    introspection: {
      enabled: true,
      allowedPolicy: (ctx, client, token) => client.clientId === 'mail-rs' || client.clientId === token.clientId,
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx, client, oneOf) => oneOf ?? client?.rig_resource,
      useGrantedResource: () => true,
      getResourceServerInfo(ctx, indicator) {
        if (!resources[indicator]) throw new errors.InvalidTarget();
        return { ...resources[indicator] };
      },
    },
  },
});

// --- the log ---------------------------------------------------------------------------------------------------------
for (const kind of ['grant.revoked', 'authorization.success', 'authorization.error', 'server_error']) {
  provider.on(kind, (...parts) => {
    const ctx = parts.find((part) => part?.oidc);
    const error = parts.find((part) => part instanceof Error);
    note(kind, { client: ctx?.oidc?.client?.clientId, error: error?.error ?? error?.message });
    if (kind === 'server_error') console.error(error);
  });
}
// One entry for each token request, with the time it took on the server: two that overlap were in progress at once.
provider.use(async (ctx, next) => {
  if (ctx.path !== '/token') return next();
  try {
    return await next();
  } finally {
    const { oidc } = ctx;
    note('token', {
      client: oidc?.client?.clientId ?? oidc?.params?.client_id, grant_type: oidc?.params?.grant_type,
      status: ctx.status, error: ctx.body?.error, began_ms: ctx.req.began_ms, ended_ms: Date.now(),
    });
  }
});

// --- faults, in front of the server ------------------------------------------------------------------------------------
const answer = provider.callback();
function refuse(fault, req, res) {
  const send = (status, body, headers) => {
    req.resume();
    res.writeHead(status, headers).end(body);
  };
  switch (fault.mode) {
    case 'status': // an answer of the test's choice
      return send(fault.status ?? 503, fault.body ?? '{"error":"temporarily_unavailable"}', { 'content-type': 'application/json', ...fault.headers });
    case 'garbage':
      return send(200, '<html>not JSON', { 'content-type': 'text/html' });
    case 'reset': // the connection is cut before the server has read the request
      return req.socket.destroy();
    case 'hang': // never an answer
      return undefined;
    case 'slow': // an answer after `ms`
      return setTimeout(() => answer(req, res), fault.ms ?? 3000);
    case 'drop_response': { // the server commits (rotates the refresh token, say) and the client never hears of it
      const { socket } = req;
      res.write = () => true;
      res.end = () => { socket.destroy(); return res; };
      return answer(req, res);
    }
    default:
      return send(500, '{}', {});
  }
}
function serve(req, res) {
  req.began_ms = Date.now();
  const path = req.url.split('?')[0];
  const fault = faults.find((f) => f.count > 0 && f.path === path);
  if (!fault) return answer(req, res);
  fault.count -= 1;
  note('fault', { path, mode: fault.mode });
  return refuse(fault, req, res);
}

// --- the admin port ----------------------------------------------------------------------------------------------------
async function admin(req, res) {
  let text = '';
  for await (const chunk of req) text += chunk;
  const body = text ? JSON.parse(text) : {};
  const out = (value) => res.writeHead(200, { 'content-type': 'application/json' }).end(`${JSON.stringify(value)}\n`);
  switch (`${req.method} ${req.url}`) {
    case 'GET /events': return out(events);
    case 'POST /events/clear': events = []; return out({});
    case 'POST /ttl': return out(Object.assign(ttl, body));
    case 'POST /fault': faults.push({ path: '/token', mode: 'status', count: 1, ...body }); return out(faults);
    case 'POST /fault/clear': faults = []; return out({});
    default: return res.writeHead(404).end();
  }
}

const listen = (server, name) => new Promise((done, failed) => {
  server.on('error', failed).listen(port(name), '127.0.0.1', done);
});
await listen(https.createServer({ key: file('server.key'), cert: file('server.pem') }, serve), 'AS_HTTPS');
await listen(http.createServer(admin), 'AS_ADMIN');
console.log(`ready: ${ISSUER}`);
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
