// Ids of requests and traces: what a caller sends reaches Procore as it is.
import t from 'tap'
import { startRig } from '../fixtures/proxy.ts'

t.test(
  'traceparent, tracestate, baggage and X-Request-Id go up unchanged, and nothing is made up',
  async (t) => {
    const { get, fake } = await startRig(t)
    const sent = {
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
      tracestate: 'vendor=a, other=b',
      baggage: 'user=1;x=2',
      'x-request-id': 'trace-1',
    }
    await get('/acme/rest/v1.0/me', { headers: sent })
    t.match(fake.journal.api()[0]?.headers, sent)
    await get('/acme/rest/v1.0/me', { headers: { traceparent: 'not one at all' } })
    t.match(fake.journal.api()[1]?.headers, { traceparent: 'not one at all' })
    await get('/acme/rest/v1.0/me')
    t.notOk('traceparent' in (fake.journal.api()[2]?.headers ?? {}))
  },
)
