// browserless.mjs URL [LOGIN] [--deny]: logs in and consents at the authorization server's pages without a browser, by
// following their forms over HTTPS, and prints the URL that the server redirects to. Nothing needs to listen there.
// Exit 1, with the page's text, if it ends on a page instead.
import { readFileSync } from 'node:fs';
import https from 'node:https';

const deny = process.argv.includes('--deny');
const [url, login = 'alice'] = process.argv.slice(2).filter((word) => word !== '--deny');
const ca = readFileSync(process.env.RIG_CA);
const cookies = new Map();
setTimeout(() => { console.error('no redirect within 30 s'); process.exit(1); }, 30_000).unref();

function request(at, form) {
  const body = form && new URLSearchParams(Object.entries(form).filter(([, value]) => value !== undefined)).toString();
  const headers = { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') };
  if (body) Object.assign(headers, { 'content-type': 'application/x-www-form-urlencoded', 'content-length': body.length });
  return new Promise((done, failed) => {
    https.request(at, { method: body ? 'POST' : 'GET', headers, ca, agent: false }, (res) => {
      for (const cookie of res.headers['set-cookie'] ?? []) {
        const [name, value] = cookie.split(';')[0].split(/=(.*)/s);
        if (value) cookies.set(name, value); else cookies.delete(name);
      }
      let text = '';
      res.on('data', (chunk) => { text += chunk; });
      res.on('end', () => done({ status: res.statusCode, location: res.headers.location, text }));
    }).on('error', failed).end(body);
  });
}

const server = new URL(url).origin;
const first = (pattern, text) => pattern.exec(text)?.[1].replaceAll('&amp;', '&');
let at = url;
let page = await request(at);
for (let step = 0; step < 12; step += 1) {
  if (page.status >= 300 && page.status < 400) {
    at = new URL(page.location, at).href;
    if (new URL(at).origin !== server) {
      console.log(at);
      process.exit(0);
    }
    page = await request(at);
    continue;
  }
  const cancel = first(/href="([^"]+\/abort)"/, page.text);
  if (deny && cancel) {
    at = new URL(cancel, at).href;
    page = await request(at);
    continue;
  }
  const action = first(/<form[^>]*action="([^"]+)"/, page.text);
  if (!action) break;
  const hidden = (name) => first(new RegExp(`name="${name}"[^>]*value="([^"]*)"`), page.text);
  const userCode = hidden('user_code'); // the pages of the device flow
  at = new URL(action, at).href;
  page = await request(at, {
    prompt: hidden('prompt'), login, password: 'x', xsrf: hidden('xsrf'), user_code: userCode,
    confirm: userCode ? 'yes' : undefined,
  });
}
const words = page.text.replace(/<style>[^]*?<\/style>/, '').replace(/<[^>]+>/g, ' ').replace(/\s+/g, ' ').trim();
console.error(`${page.status} ${at}: ${words.slice(0, 400)}`);
process.exit(1);
