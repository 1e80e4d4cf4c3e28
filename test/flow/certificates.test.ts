// Certificates are verified: who can't prove to be Procore gets no bearer (TOOLCHAIN: http-proxy's default does not). That a login
// server gets no secret is in test/auth/request-token.test.ts.
import tls from 'node:tls'
import t from 'tap'
import { startFakeProcore } from '../fixtures/procore.ts'
import { startRig } from '../fixtures/proxy.ts'
import { certificate, pem } from '../fixtures/tls.ts'

// As NODE_EXTRA_CA_CERTS would: the CA that signed all but the self-signed one is trusted.
tls.setDefaultCACertificates([...tls.getCACertificates('default'), pem('ca.pem')])

t.test('a server with a certificate of a trusted CA for its name is talked to', async (t) => {
  const { get, fake } = await startRig(t, { fake: { tls: certificate('good') } })
  t.match(fake.apiUrl, /^https:/)
  t.equal((await get('/acme/rest/v1.0/me')).status, 200)
})

t.test('an API server without one gets no bearer, not even a request', async (t) => {
  for (const name of ['self-signed', 'wrong-name', 'expired']) {
    const impostor = await startFakeProcore({ tls: certificate(name) })
    t.teardown(() => impostor.close())
    const { get } = await startRig(t, {
      settings: (fake) => ({ environments: { fake: { apiUrl: impostor.apiUrl, loginUrl: fake.loginUrl } } }),
    })
    const answer = await get('/acme/rest/v1.0/me')
    t.equal(answer.status, 502, name)
    t.match(answer.headers, {
      'procore-proxy-error': 'upstream_unreachable',
      'proxy-status': /error=tls_certificate_error/,
    })
    t.match(answer.json.help, /certificate/, name)
    t.equal(impostor.journal.entries.length, 0, `${name}: nothing arrived`)
  }
})
