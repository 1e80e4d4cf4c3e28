// Twin of src/lists/collect.ts: whole lists from a running proxy into a stream.
import { Writable } from 'node:stream'
import t from 'tap'
import { Agent } from 'undici'
import { collectList } from '../../src/lists/collect.ts'
import { ACME, startRig } from '../fixtures/proxy.ts'

t.test('a list is collected, and what is missing of it is told', async (t) => {
  const rig = await startRig(t, { fake: { companies: [{ id: ACME, name: 'Acme', projects: 2, rfis: 3 }] } })
  const dispatcher = new Agent()
  t.teardown(() => dispatcher.destroy())
  const collect = async (path: string, fails = false) => {
    const pieces: string[] = []
    const write = (piece: Buffer, _: string, done: (error?: Error) => void) => {
      pieces.push(String(piece))
      done(fails ? new Error('the disk is full') : undefined)
    }
    const url = `${rig.url}/acme/_proxy/csv${path}`
    const collected = await collectList({
      dispatcher,
      url,
      headers: {},
      output: () => new Writable({ write }),
    })
    return { ...collected, text: pieces.join('') }
  }
  const all = '/rest/v1.0/projects/*/rfis?_columns=project_id,number'
  const text = 'project_id,number\r\n1000001,1\r\n1000001,2\r\n1000001,3\r\n'
  t.match(await collect(all), {
    skipped: 0,
    failure: undefined,
    text: /^project_id,number\r\n1000001,1\r\n.*1000002,3\r\n$/s,
  })
  t.match(await collect(all, true), { failure: 'The list is not complete: the disk is full.' })
  t.match(await collect('/rest/v1.0/me'), { failure: /not a JSON array\. Use a path/, text: '' })
  t.match(await collect('/rest/v1.0/nothing'), { failure: /^Procore answered 404: \{"errors"/ })
  t.match(await collect('/rest/v1.0/status/502'), { failure: 'Procore answered 502: {"status":502}' })
  const help = 'The proxy keeps trying. Try again after Retry-After seconds.'
  rig.fake.faults.api.push({
    match: '/rest/v1.0/busy',
    status: 503,
    body: JSON.stringify({ detail: 'Busy.', help }),
  })
  t.match(await collect('/rest/v1.0/busy'), { failure: 'Busy. Try again later.' })
  rig.fake.faults.api.push({ match: '/rest/v1.0/text', status: 500, body: 'no JSON' })
  t.match(await collect('/rest/v1.0/text'), { failure: 'Procore answered 500: no JSON' })
  rig.fake.faults.api.push({ match: '/rest/v1.0/long', status: 500, body: 'a'.repeat(501) })
  t.match(await collect('/rest/v1.0/long'), { failure: `Procore answered 500: ${'a'.repeat(500)}…` })
  rig.fake.faults.notConnected({ match: '/rest/v1.0/projects/1000002/' })
  t.match(await collect(all), { skipped: 1, failure: undefined, text })
  rig.fake.faults.reset('mid-body', { match: (_, url) => url.includes('&page=2') })
  const broken = await collect('/rest/v1.0/projects/1000001/rfis?per_page=2')
  t.match(broken, { failure: /^The list is not complete: / })
})
