// Twin of src/server/listeners.ts, for machines that tests don't run on (test/cli has the rest).
import { Server } from 'node:net'
import t from 'tap'
import { createLogger } from '../../src/observe/log.ts'
import { Listeners } from '../../src/server/listeners.ts'
import { testConfig } from '../fixtures/config.ts'

const LOG = createLogger({ level: 'fatal', format: 'json' })

/** As on a machine without IPv6; gives every address that was asked for. */
function withoutIPv6(code: string): string[] {
  const asked: string[] = []
  t.intercept(Server.prototype, 'listen', {
    value: function (this: Server, options: { host: string }) {
      asked.push(options.host)
      const event = options.host.includes(':')
        ? ['error', Object.assign(new Error(code), { code })]
        : ['listening']
      setImmediate(() => this.emit(...(event as [string])))
      return this
    },
  })
  t.intercept(Server.prototype, 'address', {
    value: () => ({ address: '127.0.0.1', port: 8377, family: 'IPv4' }),
  })
  return asked
}

t.test('localhost does without IPv6 where the machine has none', async (t) => {
  const asked = withoutIPv6('EADDRNOTAVAIL')
  const listeners = new Listeners(LOG)
  await listeners.apply(testConfig({ listen: [{ kind: 'tcp', host: 'localhost', port: 8377 }] }))
  t.strictSame(asked, ['127.0.0.1', '::1'])
  t.strictSame(listeners.addresses(), [{ company: undefined, url: 'http://127.0.0.1:8377' }])
})

t.test('an IPv6 address that was asked for is needed', async (t) => {
  withoutIPv6('EAFNOSUPPORT')
  const config = testConfig({ listen: [{ kind: 'tcp', host: '::1', port: 8377 }] })
  await t.rejects(new Listeners(LOG).apply(config), /^cannot listen on \[::1\]:8377: EAFNOSUPPORT$/)
})

t.test('nor may another program have the other half of localhost', async (t) => {
  withoutIPv6('EADDRINUSE')
  const config = testConfig({ listen: [{ kind: 'tcp', host: 'localhost', port: 8377 }] })
  await t.rejects(new Listeners(LOG).apply(config), /another program listens there/)
})
