// consent.mjs URL [LOGIN] [--deny]: headless Chromium logs in and consents at the authorization server's pages, follows
// the redirect to whoever listens on the loopback redirect URI, and prints one line of JSON: {"url", "text"} of the page
// it ends on. `--deny` cancels instead. RIG_SHOTS=DIR keeps a picture of each page.
import { createHash, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const deny = process.argv.includes('--deny');
const [url, login = 'alice'] = process.argv.slice(2).filter((word) => word !== '--deny');

// Only the key of the rig's own server is trusted, besides what the system trusts.
const certificate = new X509Certificate(readFileSync(`${process.env.RIG_DIR}/pki/server.pem`));
const key = createHash('sha256').update(certificate.publicKey.export({ type: 'spki', format: 'der' })).digest('base64');
const args = [`--ignore-certificate-errors-spki-list=${key}`];
if (process.getuid() === 0) args.push('--no-sandbox');
const program = process.env.RIG_CHROMIUM ?? 'chromium';
const places = program.includes('/') ? [program] : process.env.PATH.split(':').map((folder) => `${folder}/${program}`);
const browser = await chromium.launch({ executablePath: places.find(existsSync), args, timeout: 30_000 });

try {
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  const picture = async (name) => {
    if (process.env.RIG_SHOTS) await page.screenshot({ path: `${process.env.RIG_SHOTS}/${name}.png` });
  };
  await page.goto(url);
  await picture('1-login');
  if (deny) {
    await page.click('a:has-text("Cancel")');
  } else {
    await page.fill('input[name=login]', login);
    await page.fill('input[name=password]', 'x');
    await page.click('button[type=submit]');
    await page.waitForSelector('input[name=prompt][value=consent]', { state: 'attached' });
    await picture('2-consent');
    await page.click('button[type=submit]');
  }
  await page.waitForURL((at) => at.protocol === 'http:' && ['127.0.0.1', 'localhost', '[::1]'].includes(at.hostname));
  await picture('3-done');
  console.log(JSON.stringify({ url: page.url(), text: (await page.innerText('body')).trim() }));
} finally {
  await browser.close();
}
