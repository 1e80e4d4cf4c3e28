// Covers src/forward/request-body.ts: what it keeps. The rest is covered by the tests of send.ts.
import { PassThrough } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { RequestBody } from '../../src/forward/request-body.ts'
import { heapUsed } from '../fixtures/memory.ts'

t.test(
  'what is kept of a body takes as much memory as it is long, however small its chunks are',
  async (t) => {
    const upload = new PassThrough()
    const body = new RequestBody(upload)
    body.resume()
    const before = heapUsed()
    const length = 60_000
    for (let at = 0; at < length; at++) {
      upload.write(Buffer.from('x'))
      if (at % 1_000 === 0) await setImmediate()
    }
    upload.end()
    while (!body.isComplete) await setImmediate()
    // In chunks it would be 7 MB.
    t.ok(heapUsed() - before < 2e6)
    t.equal(String(body.replay()), 'x'.repeat(length))
    t.equal(body.replay(), body.replay())
  },
)
